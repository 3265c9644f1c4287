"""The numbers of region rows against the regions, the bootstrap and the solver table that they come from."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from dentgen.diffusion.canvas import Canvas
from dentgen.diffusion.guidance import Guidance
from dentgen.diffusion.region_numbers import RegionNumbers, fill_regions
from dentgen.diffusion.regions import Bootstrap, Layers, Region, noise_level
from dentgen.diffusion.slots import InFlight, SlotMap
from dentgen.diffusion.solver import SolverTable
from dentgen.models.bundle import Bundle
from dentgen.seeding import NoiseKey
from tests.diffusion.parts import table_of
from tests.diffusion.toy_networks import words


@pytest.fixture(scope="module")
def lcm(miniature: Bundle) -> SolverTable:
    return table_of(miniature, "lcm", 5)


@pytest.fixture
def flight(lcm: SolverTable) -> InFlight:
    """A guided canvas with a discrete region in its upper left corner and a soft one everywhere."""
    corner = torch.zeros(16, 16)
    corner[:4, :4] = 1
    regions = [Region(words(1), corner), Region(words(2), torch.full((16, 16), 0.99), edge="continuous")]
    layers = Layers.of(regions, lcm, Bootstrap(torch.ones(4, 16, 16), 1, leak=0.25, stride=4))
    canvas = Canvas(
        "c", NoiseKey(0, "r", 0), lcm, words(0), guidance=Guidance(2.0, "full", words(3)), layers=layers
    )  # fmt: skip
    flight = SlotMap(8, {}).try_admit(canvas)
    assert flight is not None
    return flight


def filled(flight: InFlight) -> RegionNumbers:
    numbers = RegionNumbers.idle(8)
    fill_regions(SimpleNamespace(**{name: getattr(numbers, name).numpy() for name in numbers.__slots__}), flight)
    return numbers


def test_rows_know_their_region(flight: InFlight, lcm: SolverTable) -> None:
    """Two rows each for background and regions, one of which counts."""
    numbers = filled(flight)
    assert flight.rows == (0, 1, 2, 3, 4, 5)
    assert numbers.background.tolist() == [True, True, False, False, False, False, True, True]
    assert numbers.counts.tolist() == [0, 0, 0, 1, 0, 1, 0, 0]
    s0, s1 = noise_level(lcm, 0), noise_level(lcm, 1)
    assert numbers.low[2:6].tolist() == pytest.approx([s0, s0, s1, s1])
    assert numbers.high[2:6].tolist() == pytest.approx([s0, s0, s0, s0])


def test_the_bootstrap_ends_with_its_steps(flight: InFlight, lcm: SolverTable) -> None:
    numbers = filled(flight)
    signal, noise = float(lcm.signal[0]), float(lcm.noise[0])
    assert numbers.white[2:6].tolist() == [1, 1, 1, 1]
    assert numbers.white_signal[2:6].tolist() == pytest.approx([signal] * 4)
    assert numbers.white_noise[2:6].tolist() == pytest.approx([noise] * 4)
    assert numbers.correction[2:6].tolist() == pytest.approx([1 / noise] * 4)
    assert numbers.clean_latents[2:6].tolist() == pytest.approx([1 / signal] * 4)
    assert numbers.clean_prediction[2:6].tolist() == pytest.approx([-noise / signal] * 4)
    assert numbers.leak[2:6].tolist() == [4, 4, 4, 4]
    assert (numbers.down[2:6].tolist(), numbers.right[2:6].tolist()) == ([8, 8, 0, 0], [8, 8, 0, 0]), "centre 2 to 8"
    flight.step = 1
    assert not any(bool(getattr(filled(flight), name).any()) for name in ("white", "correction", "leak", "down"))
