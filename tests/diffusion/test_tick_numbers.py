"""The numbers of a tick against the solver tables and guidance of the canvases that they come from."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch

from dentgen.diffusion.canvas import Repaint
from dentgen.diffusion.guidance import Guidance
from dentgen.diffusion.networks import Branches, EngineShape
from dentgen.diffusion.slots import InFlight, SlotMap
from dentgen.diffusion.tick_numbers import TickNumbers
from dentgen.models.bundle import Bundle
from tests.diffusion.parts import BLENDED, LATENT, branches_of, controlled, prompt, random_latents, simple, table_of

SHAPE = EngineShape(slots=5, control_slots=4, latent_size=LATENT[1:], tokens=77, width=128, columns=9)


@pytest.fixture(scope="module")
def branches(miniature: Bundle) -> Branches:
    return branches_of(miniature)


@pytest.fixture
def flights(miniature: Bundle) -> list[InFlight]:
    """``full`` guidance at step 1 of UniPC, inpainting at the last step of LCM, ``initialize`` at step 0 of DDIM."""
    negative, keep = prompt(miniature, ""), torch.ones(LATENT[1:], dtype=torch.bool)
    unipc, lcm, ddim = table_of(miniature, "unipc", 4), table_of(miniature, "lcm", 2), table_of(miniature, "ddim", 3)
    slots = SlotMap(SHAPE.slots, {BLENDED: SHAPE.control_slots})
    guided = slots.try_admit(
        simple(miniature, 0, None, unipc, guidance=Guidance(3.0, "full", negative), controls=controlled(1, 0.7))
    )
    painted = slots.try_admit(simple(miniature, 1, None, lcm, image=random_latents(0), repaint=Repaint(keep)))
    assert guided is not None
    assert painted is not None
    slots.advance(guided)
    slots.advance(painted)
    started = slots.try_admit(simple(miniature, 2, 1, ddim, guidance=Guidance(1.4, "initialize", negative, 0.9)))
    assert started is not None
    return [guided, painted, started]


def test_rows_follow_their_canvas_at_its_own_step(branches: Branches, flights: list[InFlight]) -> None:
    numbers = TickNumbers.of(flights, SHAPE, branches)
    unipc, lcm, ddim = (flight.canvas.table for flight in flights)
    assert numbers.row_canvas.tolist() == [0, 0, 1, 2, 2]
    expected = [unipc.timesteps[1], unipc.timesteps[1], lcm.timesteps[1], ddim.timesteps[0], ddim.timesteps[0]]
    assert numbers.timesteps.tolist() == [float(t) for t in expected]
    assert numbers.column.tolist() == [2, 2, 1, 9, 9], "idle canvas slots write to the spare column"
    for slot, (table, step) in enumerate([(unipc, 1), (lcm, 1), (ddim, 0)]):
        row = numbers.coefficients[slot]
        assert torch.equal(row[: table.num_columns], table.coefficients[step].float())
        assert not bool(row[table.num_columns :].any())


def test_rows_are_combined_as_guidance_says(branches: Branches, flights: list[InFlight]) -> None:
    numbers, ddim = TickNumbers.of(flights, SHAPE, branches), flights[2].canvas.table
    assert numbers.places[:, :3].tolist() == [[0, 2, 3], [1, 0, 4]]
    expected = torch.tensor([[1 - 3.0, 1.0, 1.4], [3.0, 0.0, (1 - 1.4) * 0.9]])
    torch.testing.assert_close(numbers.weights[:, :3], expected)
    assert numbers.sets_reference.tolist() == [False, False, True, False, False]
    signal, noise = float(ddim.signal[0]), float(ddim.noise[0])
    # The reference is the clean estimate (x - noise e) / signal.
    assert float(numbers.reference_latents[2]) == pytest.approx(1 / signal)
    assert float(numbers.reference_row[2]) == pytest.approx(-noise / signal)


def test_only_inpainting_canvases_are_restored(branches: Branches, flights: list[InFlight]) -> None:
    numbers = TickNumbers.of(flights, SHAPE, branches)
    assert numbers.edits.tolist() == [False, True, False, False, False]
    assert (float(numbers.known_signal[1]), float(numbers.known_noise[1])) == (1.0, 0.0), "clean after the last step"
    flights[1].step, lcm = 0, flights[1].canvas.table
    numbers = TickNumbers.of(flights, SHAPE, branches)
    assert float(numbers.known_signal[1]) == pytest.approx(float(lcm.signal[1]))
    assert float(numbers.known_noise[1]) == pytest.approx(float(lcm.noise[1]))


def test_control_numbers_follow_the_control_slots(branches: Branches, flights: list[InFlight]) -> None:
    branch = TickNumbers.of(flights, SHAPE, branches).branches[BLENDED]
    torch.testing.assert_close(branch.scale, torch.tensor([0.7, 0.7, 0.0, 1.0, 1.0]))
    assert branch.index[[0, 1, 3, 4]].tolist() == [0, 1, 2, 3]
    unipc, _, ddim = (flight.canvas.table for flight in flights)
    expected = (unipc.timesteps[1], unipc.timesteps[1], ddim.timesteps[0], ddim.timesteps[0])
    assert branch.timesteps.tolist() == [float(t) for t in expected]


def test_fill_replaces_every_number(branches: Branches, flights: list[InFlight]) -> None:
    source = TickNumbers.of(flights, SHAPE, branches)
    target = TickNumbers.idle(SHAPE, branches).on(torch.device("cpu"))
    target.fill(source)
    for field in fields(source):
        if field.name not in {"regions", "branches"}:
            assert torch.equal(getattr(target, field.name), getattr(source, field.name)), field.name
    for field in fields(source.branches[BLENDED]):
        found, expected = (getattr(numbers.branches[BLENDED], field.name) for numbers in (target, source))
        assert torch.equal(found, expected), field.name
