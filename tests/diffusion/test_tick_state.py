"""One tick on the device: mixed batches against diffusers, sums over control branches, isolation of slots."""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import get_args

import pytest
import torch
from torch.nn.functional import interpolate

from dentgen.diffusion.canvas import Canvas, ControlInput
from dentgen.diffusion.guidance import Guidance
from dentgen.diffusion.keyed_tensor import KeyedTensor
from dentgen.diffusion.networks import Branches
from dentgen.diffusion.solver import SolverTable
from dentgen.errors import CanvasError
from dentgen.models.bundle import Bundle
from dentgen.models.networks import ControlBranch
from dentgen.seeding import NoiseKey
from dentgen.spec.sampling import SchedulerName
from tests.diffusion.diffusers_loop import KeyedNoise, sample_sequentially
from tests.diffusion.diffusers_pipelines import HINT
from tests.diffusion.parts import (
    BLENDED,
    LATENT,
    PROMPTS,
    build_engine,
    condition,
    controlled,
    full_branches,
    full_control,
    latents,
    prompt,
    random_latents,
    relative_error,
    sample_one,
    simple,
    table_of,
)

NAMES: tuple[SchedulerName, ...] = get_args(SchedulerName)


@pytest.fixture(scope="module")
def unipc(miniature: Bundle) -> SolverTable:
    return table_of(miniature, "unipc", 4)


@pytest.fixture
def keyed_noise(monkeypatch: pytest.MonkeyPatch) -> KeyedNoise:
    noise = KeyedNoise()
    for module in ("lcm", "ddpm", "euler_ancestral_discrete"):
        scheduling = importlib.import_module(f"diffusers.schedulers.scheduling_{module}")
        monkeypatch.setattr(scheduling, "randn_tensor", noise)
    return noise


def check(bundle: Bundle, plans: list[tuple[SchedulerName, int, Canvas]], noise: KeyedNoise) -> None:
    columns = max(canvas.table.num_columns for _, _, canvas in plans)
    found = build_engine(bundle, slots=8, control_slots=4, columns=columns).run(canvas for _, _, canvas in plans)
    assert sorted(found) == sorted(canvas.key for _, _, canvas in plans)
    for name, steps, canvas in plans:
        error = relative_error(latents(found[canvas.key]), sample_sequentially(bundle, name, steps, canvas, noise))
        assert error < 1e-4, f"{canvas.key}: {name} {steps}: {error:.1e}"


@pytest.mark.slow
def test_a_mixed_batch_equals_diffusers_one_by_one(miniature: Bundle, keyed_noise: KeyedNoise) -> None:
    """Keys, prompts, conditions, scales, schedulers, step counts and guidance all differ within one batch."""
    plans: list[tuple[SchedulerName, int, int | None, str, float, float]] = [
        ("unipc", 4, 0, PROMPTS[0], 1.0, 1.0),
        ("unipc", 4, 0, PROMPTS[0], 1.0, 1.0),
        ("unipc", 8, 1, PROMPTS[1], 1.0, 0.7),
        ("lcm", 4, 1, PROMPTS[0], 1.0, 1.0),
        ("ddim", 12, 2, PROMPTS[2], 1.0, 1.0),
        ("dpmpp_2m_karras", 4, 2, PROMPTS[1], 3.0, 1.0),
        ("euler_ancestral", 6, None, PROMPTS[0], 2.0, 1.0),
        ("heun", 3, 3, PROMPTS[0], 1.0, 1.0),
    ]
    canvases = []
    for number, (name, steps, control, text, scale, control_scale) in enumerate(plans):
        canvas = simple(
            miniature,
            number,
            None,
            table_of(miniature, name, steps),
            noise=NoiseKey(7, f"record {number // 2}", number),
            prompt=prompt(miniature, text),
            guidance=Guidance(scale, "full", prompt(miniature, "")),
            controls=() if control is None else controlled(control, control_scale),
        )
        canvases.append((name, steps, canvas))
    check(miniature, canvases, keyed_noise)


@pytest.mark.parametrize("steps", [1, *(pytest.param(steps, marks=pytest.mark.slow) for steps in (2, 3, 5, 9, 20, 50))])
def test_every_scheduler_in_one_batch(miniature: Bundle, keyed_noise: KeyedNoise, steps: int) -> None:
    plans = [
        (name, steps, simple(miniature, n, n % 3, table_of(miniature, name, steps))) for n, name in enumerate(NAMES)
    ]
    check(miniature, plans, keyed_noise)


@pytest.mark.integration
def test_shared_control_equals_control_per_row(miniature: Bundle, unipc: SolverTable) -> None:
    """The same condition under other names is not shared: equal bits at the same batch of the branch."""
    shared = [simple(miniature, n, 0, unipc) for n in range(3)]
    separate = [
        simple(miniature, n, None, unipc, controls=(ControlInput(BLENDED, KeyedTensor(f"{n}", random_latents(0))),))
        for n in range(3)
    ]
    from_shared, from_separate = build_engine(miniature).run(shared), build_engine(miniature).run(separate)
    other_size = build_engine(miniature, control_slots=1).run(shared)
    for key, sampled in from_shared.items():
        assert torch.equal(latents(sampled), latents(from_separate[key]))
        assert float((latents(sampled) - latents(other_size[key])).abs().max()) < 1e-4, "another batch, other rounding"


@pytest.mark.slow
def test_branches_are_added_with_their_scales(miniature: Bundle, unipc: SolverTable) -> None:
    """The same network twice at half scale equals the network once; a full ControlNet adds to it."""
    twice = Branches(shared=dict.fromkeys(("first", "second"), ControlBranch(miniature.shared[BLENDED])))
    halves = tuple(ControlInput(name, condition(1), 0.5) for name in ("first", "second"))
    once = sample_one(miniature, simple(miniature, 0, 1, unipc))
    summed = sample_one(miniature, simple(miniature, 0, None, unipc, controls=halves), branches=twice)
    assert float((once - summed).abs().max()) < 1e-4
    _, full = full_control(miniature)
    hint = KeyedTensor("hint", torch.randn(64, *LATENT[1:], generator=torch.Generator().manual_seed(1)))
    both = (*controlled(1), ControlInput("full", hint))
    branches = full_branches(miniature, full)
    joined = sample_one(miniature, simple(miniature, 0, None, unipc, controls=both), branches=branches)
    assert not torch.equal(joined, once)
    assert torch.equal(once, sample_one(miniature, simple(miniature, 0, 1, unipc), branches=branches))


@pytest.mark.integration
def test_branches_that_act_on_no_row_of_a_canvas_change_no_bit(miniature: Bundle, unipc: SolverTable) -> None:
    free = simple(miniature, 0, None, unipc)
    expected = sample_one(miniature, free)
    muted = simple(miniature, 0, None, unipc, controls=controlled(1, 0.0))
    assert torch.equal(expected, sample_one(miniature, muted, steady=True))
    neighbours = build_engine(miniature).run([free, simple(miniature, 1, 1, unipc)])
    assert torch.equal(expected, latents(neighbours["c0"]))


@pytest.mark.integration
def test_a_diverged_canvas_stays_in_its_slot(miniature: Bundle, unipc: SolverTable) -> None:
    good, free = simple(miniature, 0, 0, unipc), simple(miniature, 2, None, unipc)
    nan = KeyedTensor("nan", torch.full(LATENT, float("nan")))
    diverging = simple(miniature, 1, None, unipc, controls=(ControlInput(BLENDED, nan),))
    found = build_engine(miniature).run([diverging, good, free])
    assert not bool(torch.isfinite(latents(found["c1"])).any())
    assert torch.equal(latents(found["c0"]), sample_one(miniature, good))
    assert torch.equal(latents(found["c2"]), sample_one(miniature, free)), "its rows index the same control slot"
    engine = build_engine(miniature, slots=1, control_slots=1)
    engine.run([diverging])
    assert bool(torch.isfinite(latents(engine.run([good])["c0"])).all()), "the slot is clean afterwards"


def halves(left: float, right: float) -> torch.Tensor:
    """Scales of the left and the right half of a picture, (h, w)."""
    half = (LATENT[1], LATENT[2] // 2)
    return torch.cat([torch.full(half, left), torch.full(half, right)], 1)


class PlacedControl:
    """The control branch with residuals scaled at each place by another function of torch."""

    def __init__(self, bundle: Bundle, where: torch.Tensor) -> None:
        self._branch, self._where = ControlBranch(bundle.shared[BLENDED]), where

    def __call__(
        self, condition_latents: torch.Tensor, timesteps: torch.Tensor, prompt_embeds: torch.Tensor
    ) -> list[torch.Tensor]:
        residuals = self._branch(condition_latents, timesteps, prompt_embeds)
        return [r * interpolate(self._where[None, None], r.shape[-2:], mode="area") for r in residuals]


@pytest.mark.integration
def test_scales_at_each_place_are_means_over_the_cells_of_deeper_levels(miniature: Bundle) -> None:
    """Oracle: a branch that scales its own residuals, so that the engine need not."""
    table, where = table_of(miniature, "unipc", 4), torch.rand(LATENT[1:], generator=torch.Generator().manual_seed(3))
    canvas = simple(miniature, 0, None, table, controls=controlled(1, 1.2, where=where))
    plain = simple(miniature, 0, None, table, controls=controlled(1, 1.2))
    branches = Branches(shared={BLENDED: PlacedControl(miniature, where)})
    expected = sample_one(miniature, plain, branches=branches)
    assert relative_error(sample_one(miniature, canvas, weighted=True), expected) < 1e-5
    assert relative_error(sample_one(miniature, plain), expected) > 0.01, "scales matter"


@pytest.mark.parametrize("scale", [0.0, 1.0, 1.5])
def test_one_scale_at_every_place_is_that_scale_exactly(miniature: Bundle, scale: float) -> None:
    table = table_of(miniature, "unipc", 4)
    placed = simple(miniature, 0, None, table, controls=controlled(1, where=halves(scale, scale)))
    plain = simple(miniature, 0, None, table, controls=controlled(1, scale))
    assert torch.equal(sample_one(miniature, placed, weighted=True), sample_one(miniature, plain))


@pytest.mark.integration
def test_control_acts_where_it_is_wanted(miniature: Bundle) -> None:
    table = table_of(miniature, "unipc", 4)
    free = sample_one(miniature, simple(miniature, 0, None, table))
    full = sample_one(miniature, simple(miniature, 0, 1, table))
    left = simple(miniature, 0, None, table, controls=controlled(1, where=halves(1.0, 0.0)))
    found = sample_one(miniature, left, weighted=True)
    away = {name: (found - other).abs().mean((0, 1)) for name, other in (("full", full), ("free", free))}
    assert away["full"][:3].mean() < away["free"][:3].mean(), "the left half is as with control"
    assert away["free"][5:].mean() < away["full"][5:].mean(), "the right half is as without"


@pytest.mark.integration
def test_places_of_a_canvas_touch_neither_its_neighbours_nor_its_successor(miniature: Bundle) -> None:
    table = table_of(miniature, "unipc", 4)
    placed = [simple(miniature, n, None, table, controls=controlled(n, where=halves(0.0, 2.0))) for n in range(2)]
    plain = [simple(miniature, n, n, table) for n in range(2, 4)]
    engine = build_engine(miniature, slots=3, weighted=True)
    found = engine.run([placed[0], plain[0], placed[1]])
    found |= engine.run(plain[1:])  # in the slot of a canvas with places
    for canvas in plain:
        assert torch.equal(latents(found[canvas.key]), sample_one(miniature, canvas, slots=3))
    for canvas in placed:
        assert torch.equal(latents(found[canvas.key]), sample_one(miniature, canvas, slots=3, weighted=True))


@pytest.mark.integration
def test_full_controlnets_are_placed_too(miniature: Bundle) -> None:
    table, (_, full) = table_of(miniature, "unipc", 4), full_control(miniature)
    hint = KeyedTensor("hint", full.embed(HINT))
    branches = full_branches(miniature, full)
    control = ControlInput("full", hint)
    plain = simple(miniature, 0, None, table, controls=(control,))
    none = simple(miniature, 0, None, table, controls=(replace(control, where=halves(0.0, 0.0)),))
    found = sample_one(miniature, none, branches=branches, weighted=True)
    assert torch.equal(found, sample_one(miniature, simple(miniature, 0, None, table), branches=branches))
    assert not torch.equal(found, sample_one(miniature, plain, branches=branches))


def test_an_engine_without_weighted_control_refuses_places(miniature: Bundle) -> None:
    canvas = simple(miniature, 0, None, table_of(miniature, "unipc", 4), controls=controlled(1, where=halves(1.0, 0.0)))
    with pytest.raises(CanvasError) as caught:
        build_engine(miniature).submit(canvas)
    assert (caught.value.key, caught.value.found) == ("c0", "scales by place")
