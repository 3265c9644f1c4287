"""Regions on the host: thresholds at noise levels, what needs no row, shifts, clean latents; for real schedulers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dentgen.diffusion.regions import Bootstrap, CleanLatents, Layers, MaskEdge, Region, noise_level, quantised
from dentgen.diffusion.solver import SolverTable
from dentgen.errors import CanvasError
from dentgen.models.bundle import Bundle
from dentgen.models.schedulers import make_scheduler
from tests.diffusion.parts import table_of
from tests.diffusion.toy_networks import words


@pytest.fixture(scope="module")
def lcm(miniature: Bundle) -> SolverTable:
    return table_of(miniature, "lcm", 5)


def region(mask: torch.Tensor, **more: object) -> Region:
    return Region(words(1), mask, **more)  # type: ignore[arg-type]


def test_noise_levels_are_those_of_the_paper(miniature: Bundle, lcm: SolverTable) -> None:
    """s_k = sqrt(1 - alpha_bar), and 0 at the end; the same for a scheduler that works with sigmas."""
    scheduler = make_scheduler("lcm", miniature.folder)
    expected = [(1 - scheduler.alphas_cumprod[int(t)].double()).sqrt() for t in lcm.timesteps]
    assert [noise_level(lcm, k) for k in range(6)] == pytest.approx([*map(float, expected), 0.0], abs=1e-6)
    euler = table_of(miniature, "euler", 5)
    sigmas = euler.noise / euler.signal
    assert [noise_level(euler, k) for k in range(5)] == pytest.approx((sigmas / (1 + sigmas**2).sqrt()).tolist())


@pytest.mark.parametrize(
    ("edge", "step", "expected"),
    [
        ("discrete", 3, [0.0, 0.0, 1.0]),
        ("continuous", 3, [0.0, 0.5, 1.0]),
        ("semi-continuous", 3, [0.0, 0.0, 1.0]),
        ("semi-continuous", 4, [0.5, 1.0, 1.0]),
    ],
)
def test_masks_grow_as_noise_falls(lcm: SolverTable, edge: MaskEdge, step: int, expected: list[float]) -> None:
    """Values below, between and above the noise levels of two neighbouring steps."""
    now, after = noise_level(lcm, step), noise_level(lcm, step + 1)
    low = after / 2 if after else now / 2
    mask = torch.tensor([[low, (now + after) / 2, (1 + now) / 2]])
    if step == 4:
        mask = torch.tensor([[now / 2, (1 + now) / 2, 1.0]])
    assert region(mask, edge=edge).share(lcm, step)[0].tolist() == pytest.approx(expected, abs=1e-6)


def test_full_masks_count_even_where_there_is_noise_alone(lcm: SolverTable) -> None:
    """A schedule with zero terminal signal begins at noise level 1."""
    silent = replace(lcm, signal=lcm.signal.clone().index_fill(0, torch.tensor(0), 0.0))
    assert noise_level(silent, 0) == 1.0
    assert float(region(torch.ones(2, 2)).share(silent, 0).mean()) == 1
    assert float(region(torch.full((2, 2), 0.99)).share(silent, 0).mean()) == 0


def test_regions_act_within_their_window(lcm: SolverTable) -> None:
    early = region(torch.ones(2, 2), end=0.4)
    assert [float(early.share(lcm, step).mean()) for step in range(5)] == [1, 1, 0, 0, 0]


def test_an_empty_region_and_a_covered_background_need_no_rows(lcm: SolverTable) -> None:
    full, empty, half = torch.ones(4, 4), torch.zeros(4, 4), torch.zeros(4, 4)
    half[:2] = 1
    first, second, nothing = region(half), region(1 - half), region(empty)
    assert Layers.of([nothing], lcm).regions == ()
    assert Layers.of([nothing], lcm).background
    assert Layers.of([first, nothing], lcm).regions == (first,)
    assert Layers.of([first, nothing], lcm).background
    assert not Layers.of([first, nothing, second], lcm).background
    assert not Layers.of([region(full)], lcm).background
    assert Layers.of([region(full)], lcm, Bootstrap(torch.ones(4, 4, 4), leak=0.2)).background, "masks may leak"
    assert Layers.of([region(0.6 * full)], lcm).background, "it only covers the background at the last steps"


def test_thin_soft_regions_appear_late(lcm: SolverTable) -> None:
    soft = region(torch.full((2, 2), 0.9))
    levels = [noise_level(lcm, step) for step in range(5)]
    assert [float(soft.share(lcm, step).mean()) for step in range(5)] == [float(level < 0.9) for level in levels]


def test_equal_thresholds_are_a_step() -> None:
    values = torch.tensor([0.2, 0.5, 0.500001])
    assert quantised(values, torch.tensor(0.5), torch.tensor(0.5)).tolist() == [0, 0, 1]


@pytest.mark.parametrize("name", ["lcm", "euler"])
@pytest.mark.parametrize("predicted", ["epsilon", "v_prediction"])
def test_clean_latents_follow_from_predictions(miniature: Bundle, name: str, predicted: str) -> None:
    """Against diffusers' own ``pred_original_sample``."""
    scheduler = make_scheduler(name, miniature.folder, {"prediction_type": predicted})  # type: ignore[arg-type]
    table = table_of(miniature, name, 4)  # type: ignore[arg-type]
    table = SolverTable(**{**{f: getattr(table, f) for f in table.__slots__}, "prediction_type": predicted})
    generator = torch.Generator().manual_seed(0)
    x, e = (torch.randn(1, 4, 8, 8, generator=generator, dtype=torch.float64) for _ in range(2))
    scheduler.set_timesteps(4)
    expected = scheduler.step(e, scheduler.timesteps[0], x).pred_original_sample if name == "euler" else None
    if expected is None:
        alpha = scheduler.alphas_cumprod[int(scheduler.timesteps[0])].double()
        a, b = alpha.sqrt(), (1 - alpha).sqrt()
        expected = (x - b * e) / a if predicted == "epsilon" else a * x - b * e
    clean = CleanLatents.at(table, 0)
    assert torch.allclose(clean.latents * x + clean.prediction * e, expected.double(), rtol=1e-4)
    z = x + torch.randn(x.shape, generator=generator, dtype=torch.float64)
    for_x = e + clean.correction * (x - z)
    assert torch.allclose(
        clean.latents * x + clean.prediction * for_x, clean.latents * z + clean.prediction * e, rtol=1e-6
    )


def test_regions_move_to_the_centre_by_whole_cells() -> None:
    mask = torch.zeros(16, 24)
    mask[1:4, 18:22] = 1  # centred at 2, 20; the middle is 8, 12
    assert Bootstrap(torch.zeros(4, 16, 24), stride=1).shift(mask) == (6, -8)
    assert Bootstrap(torch.zeros(4, 16, 24), stride=4).shift(mask) == (8, -8)
    assert Bootstrap(torch.zeros(4, 16, 24), stride=0).shift(mask) == (0, 0)
    assert Bootstrap(torch.zeros(4, 16, 24), stride=4).shift(0 * mask) == (0, 0)


def test_white_gives_way_to_the_picture() -> None:
    bootstrap = Bootstrap(torch.zeros(4, 2, 2), steps=3, mix_steps=1.5)
    assert [bootstrap.white_share(step) for step in range(4)] == [1.0, 0.5, 0.0, 0.0]


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_masks_out_of_range_are_an_error(value: float) -> None:
    with pytest.raises(CanvasError) as caught:
        region(torch.full((2, 2), value)).check("jaw")
    assert (caught.value.key, caught.value.expected) == ("jaw", "0..1")
