"""The stream batch: laws about bits, sharing and failure, on the real miniature."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dentgen.diffusion.canvas import Canvas, ControlInput, Repaint
from dentgen.diffusion.guidance import Guidance, GuidanceMethod
from dentgen.diffusion.keyed_tensor import KeyedTensor
from dentgen.diffusion.networks import Branches
from dentgen.diffusion.solver import SolverTable
from dentgen.errors import CanvasError, ControlError
from dentgen.models.bundle import Bundle, load_bundle
from dentgen.models.networks import ControlBranch
from dentgen.seeding import NoiseKey
from tests.diffusion.parts import (
    BLENDED,
    LATENT,
    PROMPTS,
    branches_of,
    build_engine,
    condition,
    controlled,
    full_branches,
    full_control,
    inpainting_unet,
    latents,
    prompt,
    random_latents,
    simple,
    table_of,
)


@pytest.fixture(scope="module")
def unipc(miniature: Bundle) -> SolverTable:
    return table_of(miniature, "unipc", 4)


def one(bundle: Bundle, canvas: Canvas, **options: object) -> torch.Tensor:
    return latents(build_engine(bundle, **options).run([canvas])[canvas.key])  # type: ignore[arg-type]


def test_bits_do_not_depend_on_neighbours_or_order(miniature: Bundle, unipc: SolverTable) -> None:
    canvases = [simple(miniature, n, n % 3, unipc) for n in range(9)]
    together = build_engine(miniature).run(canvases)
    backwards = build_engine(miniature).run(reversed(canvases))
    alone = build_engine(miniature).run(canvases[4:5])
    for key, sampled in together.items():
        assert torch.equal(latents(sampled), latents(backwards[key]))
    assert torch.equal(latents(alone["c4"]), latents(together["c4"]))


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6))
def test_many_in_many_out_under_any_interleaving(miniature: Bundle, seed: int) -> None:
    """Canvases of every kind come and go at random ticks; each leaves once, with the bits that it has alone."""
    canvases = every_kind(miniature)
    shuffled = random.Random(seed)
    waiting = shuffled.sample(canvases, len(canvases))
    engine, left = build_engine(miniature, slots=5, control_slots=3, columns=40), []
    while waiting or not engine.idle:
        for _ in range(shuffled.randrange(3)):
            if waiting:
                engine.submit(waiting.pop())
        left += engine.tick()
    assert sorted(done.key for done in left) == sorted(canvas.key for canvas in canvases)
    for done in left:
        assert torch.equal(done.latents, alone(miniature)[done.key]), done.key  # type: ignore[union-attr]


def every_kind(bundle: Bundle) -> list[Canvas]:
    """Solvers, step counts, guidance, controls and starts all differ."""
    negative = prompt(bundle, PROMPTS[2])
    keep = torch.zeros(16, 16, dtype=torch.bool)
    keep[:7] = True
    return [
        simple(bundle, 0, 0, table_of(bundle, "unipc", 4)),
        simple(bundle, 1, 0, table_of(bundle, "euler_ancestral", 3), guidance=Guidance(2.0, "full", negative)),
        simple(bundle, 2, 1, table_of(bundle, "lcm", 2), guidance=Guidance(1.3, "initialize", negative)),
        simple(bundle, 3, None, table_of(bundle, "ddim", 5), guidance=Guidance(1.2, "self")),
        simple(bundle, 4, 2, table_of(bundle, "dpmpp_2m", 6, strength=0.5), image=random_latents(50)),
        simple(bundle, 5, 1, table_of(bundle, "unipc", 4), image=random_latents(51), repaint=Repaint(keep)),
        simple(bundle, 6, 0, table_of(bundle, "unipc", 4), controls=controlled(0, 0.6, start=0.2, end=0.8)),
    ]


_ALONE: dict[str, torch.Tensor] = {}


def alone(bundle: Bundle) -> dict[str, torch.Tensor]:
    if not _ALONE:
        for canvas in every_kind(bundle):
            _ALONE[canvas.key] = one(bundle, canvas, slots=5, control_slots=3, columns=40)
    return _ALONE


def test_swapping_two_conditions_swaps_exactly_their_pictures(miniature: Bundle, unipc: SolverTable) -> None:
    def run(first: int, second: int) -> list[torch.Tensor]:
        noise = NoiseKey(1, "same", 0)
        canvases = [simple(miniature, i, number, unipc, noise=noise) for i, number in enumerate((first, second))]
        found = build_engine(miniature).run([*canvases, simple(miniature, 9, 5, unipc)])
        return [latents(found[key]) for key in ("c0", "c1", "c9")]

    straight, swapped = run(0, 1), run(1, 0)
    assert torch.equal(straight[0], swapped[1])
    assert torch.equal(straight[1], swapped[0])
    assert torch.equal(straight[2], swapped[2])
    assert not torch.equal(straight[0], straight[1])


def ticks_of(engine_options: dict[str, int], bundle: Bundle, canvases: Sequence[Canvas]) -> int:
    engine, count = build_engine(bundle, **engine_options), 0  # type: ignore[arg-type]
    for canvas in canvases:
        engine.submit(canvas)
    while not engine.idle:
        engine.tick()
        count += 1
    return count


def test_control_runs_once_for_variants_of_a_condition(miniature: Bundle, unipc: SolverTable) -> None:
    shape = {"slots": 4, "control_slots": 1}
    same = [simple(miniature, n, 0, unipc) for n in range(4)]
    different = [simple(miniature, n, n, unipc) for n in range(2)]
    assert ticks_of(shape, miniature, same) == 4, "four variants of one condition fit into one control slot"
    assert ticks_of(shape, miniature, different) == 8, "a second condition waits for the only control slot"


def test_a_negative_row_of_the_first_step_leaves_its_slot_to_others(miniature: Bundle, unipc: SolverTable) -> None:
    """Three rows, two guided canvases: the second is admitted one tick after the first, not four."""
    guidance = Guidance(1.5, "initialize", prompt(miniature, ""))
    canvases = [simple(miniature, n, n, unipc, guidance=guidance) for n in range(2)]
    assert ticks_of({"slots": 3, "control_slots": 3}, miniature, canvases) == 5
    full = [replace(canvas, guidance=Guidance(1.5, "full", prompt(miniature, ""))) for canvas in canvases]
    assert ticks_of({"slots": 3, "control_slots": 3}, miniature, full) == 8


def test_zero_scale_and_closed_windows_are_no_control(miniature: Bundle, unipc: SolverTable) -> None:
    none = one(miniature, simple(miniature, 0, None, unipc))
    assert torch.equal(none, one(miniature, simple(miniature, 0, None, unipc, controls=controlled(1, 0.0))))
    never = controlled(1, 1.0, start=0.6, end=0.4)
    assert torch.equal(none, one(miniature, simple(miniature, 0, None, unipc, controls=never)))
    steady = one(miniature, simple(miniature, 0, None, unipc, controls=controlled(1, 0.0)), steady=True)
    assert torch.equal(none, steady), "a branch that runs for nobody changes nothing"
    neighbours = build_engine(miniature).run([simple(miniature, 0, None, unipc), simple(miniature, 1, 1, unipc)])
    assert torch.equal(none, latents(neighbours["c0"])), "nor does one that runs for a neighbour"
    assert not torch.equal(none, one(miniature, simple(miniature, 0, 1, unipc)))


def test_guidance_of_one_is_none(miniature: Bundle, unipc: SolverTable) -> None:
    none = one(miniature, simple(miniature, 0, 0, unipc))
    methods: tuple[GuidanceMethod, ...] = ("full", "self", "initialize")
    for method in methods:
        guidance = Guidance(1.0, method, prompt(miniature, PROMPTS[1]))
        assert torch.equal(none, one(miniature, simple(miniature, 0, 0, unipc, guidance=guidance)))


def test_strength_one_is_text_to_image(miniature: Bundle, unipc: SolverTable) -> None:
    text = one(miniature, simple(miniature, 0, 0, unipc))
    assert torch.equal(text, one(miniature, simple(miniature, 0, 0, unipc, image=random_latents(5))))
    weaker = table_of(miniature, "unipc", 4, strength=0.5)
    assert not torch.equal(text, one(miniature, simple(miniature, 0, 0, weaker, image=random_latents(5))))


def test_masks_of_ones_and_zeros(miniature: Bundle, unipc: SolverTable) -> None:
    image = random_latents(5)
    paint_all, keep_all = torch.zeros(16, 16, dtype=torch.bool), torch.ones(16, 16, dtype=torch.bool)
    text = one(miniature, simple(miniature, 0, 0, unipc))
    painted = one(miniature, simple(miniature, 0, 0, unipc, image=image, repaint=Repaint(paint_all)))
    assert torch.equal(painted, text)
    kept = one(miniature, simple(miniature, 0, 0, unipc, image=image, repaint=Repaint(keep_all)))
    assert torch.equal(kept, image)
    half = paint_all.clone()
    half[:8] = True
    mixed = one(miniature, simple(miniature, 0, 0, unipc, image=image, repaint=Repaint(half)))
    assert torch.equal(mixed[:, :8], image[:, :8])
    assert not torch.equal(mixed[:, 8:], text[:, 8:]), "what is painted sees what is kept"


def test_shared_control_equals_control_per_row(miniature: Bundle, unipc: SolverTable) -> None:
    """Under other names the same condition is not shared: equal bits as long as the branch's batch is the same."""
    shared = [simple(miniature, n, 0, unipc) for n in range(3)]
    apart = [
        simple(miniature, n, None, unipc, controls=(ControlInput(BLENDED, KeyedTensor(f"{n}", random_latents(0))),))
        for n in range(3)
    ]
    of_shared, of_apart = build_engine(miniature).run(shared), build_engine(miniature).run(apart)
    other_size = build_engine(miniature, control_slots=1).run(shared)
    for key, sampled in of_shared.items():
        assert torch.equal(latents(sampled), latents(of_apart[key]))
        assert float((latents(sampled) - latents(other_size[key])).abs().max()) < 1e-4, "another batch, other rounding"


def test_switching_adapters_leaves_nothing_behind(miniature: Bundle, unipc: SolverTable) -> None:
    """A, then B, then A again in one engine, and A alone: the same bits; B is another picture."""
    base = load_bundle("miniature").shared["base"]
    branches = Branches(shared={**branches_of(miniature).shared, "base": ControlBranch(base)})
    engine = build_engine(miniature, branches=branches)
    a = simple(miniature, 0, 1, unipc)
    b = simple(miniature, 0, None, unipc, controls=(ControlInput("base", condition(1)),))
    found = [latents(engine.run([canvas])["c0"]) for canvas in (a, b, a)]
    assert torch.equal(found[0], found[2])
    assert not torch.equal(found[0], found[1])
    assert torch.equal(found[0], one(miniature, a))
    assert torch.equal(found[1], one(miniature, b, branches=Branches(shared={"base": ControlBranch(base)})))


def test_several_controls_are_added_with_their_weights(miniature: Bundle, unipc: SolverTable) -> None:
    """The same network twice with halved weights is the network once; a full ControlNet joins in."""
    twice = Branches(shared=dict.fromkeys(("first", "second"), ControlBranch(miniature.shared[BLENDED])))
    halves = tuple(ControlInput(name, condition(1), 0.5) for name in ("first", "second"))
    whole = one(miniature, simple(miniature, 0, 1, unipc))
    summed = one(miniature, simple(miniature, 0, None, unipc, controls=halves), branches=twice)
    assert float((whole - summed).abs().max()) < 1e-4
    _, full = full_control(miniature)
    hint = KeyedTensor("hint", torch.randn(64, 16, 16, generator=torch.Generator().manual_seed(1)))
    both = (*controlled(1), ControlInput("full", hint))
    branches = full_branches(miniature, full)
    joined = one(miniature, simple(miniature, 0, None, unipc, controls=both), branches=branches)
    assert not torch.equal(joined, whole)
    assert torch.equal(whole, one(miniature, simple(miniature, 0, 1, unipc), branches=branches))


def test_a_control_that_fails_stops_its_canvases_only(miniature: Bundle, unipc: SolverTable) -> None:
    class Failing:
        def __call__(
            self, condition_latents: torch.Tensor, timesteps: torch.Tensor, prompt_embeds: torch.Tensor
        ) -> list[torch.Tensor]:
            raise ValueError("no hint today")

    branches = Branches(shared={**branches_of(miniature).shared, "failing": Failing()})
    failing = simple(miniature, 1, None, unipc, controls=(ControlInput("failing", condition(1)),))
    good = simple(miniature, 0, 0, unipc)
    engine = build_engine(miniature, branches=branches)
    found = engine.run([failing, good])
    assert isinstance(found["c1"], CanvasError)
    assert "c1: control branch failing failed: ValueError('no hint today')" in str(found["c1"])
    assert torch.equal(latents(found["c0"]), one(miniature, good))
    assert torch.equal(latents(engine.run([good])["c0"]), one(miniature, good)), "its slots are free again"


def test_a_branch_that_fails_for_others_is_not_missed(miniature: Bundle, unipc: SolverTable) -> None:
    """A canvas on which the branch does not act is made, with or without such neighbours."""

    class Failing:
        def __call__(
            self, condition_latents: torch.Tensor, timesteps: torch.Tensor, prompt_embeds: torch.Tensor
        ) -> list[torch.Tensor]:
            raise ValueError("no hint today")

    branches = Branches(shared={"failing": Failing()})
    acting = simple(miniature, 1, None, unipc, controls=(ControlInput("failing", condition(1)),))
    muted = simple(miniature, 0, None, unipc, controls=(ControlInput("failing", condition(1), 0.0),))
    found = build_engine(miniature, branches=branches).run([acting, muted])
    assert isinstance(found["c1"], ControlError)
    assert torch.equal(latents(found["c0"]), one(miniature, simple(miniature, 0, None, unipc)))


def test_a_device_that_fails_is_no_fault_of_a_canvas(miniature: Bundle, unipc: SolverTable) -> None:
    class Lost:
        def __call__(
            self, condition_latents: torch.Tensor, timesteps: torch.Tensor, prompt_embeds: torch.Tensor
        ) -> list[torch.Tensor]:
            raise RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED")

    engine = build_engine(miniature, branches=Branches(shared={"lost": Lost()}))
    with pytest.raises(RuntimeError, match="CUDA error"):
        engine.run([simple(miniature, 0, None, unipc, controls=(ControlInput("lost", condition(1)),))])


def test_a_canvas_that_cannot_be_placed_fails_alone(miniature: Bundle, unipc: SolverTable) -> None:
    class Broken(NoiseKey):
        def normal(self, purpose: str, step: int, shape: tuple[int, ...]) -> torch.Tensor:
            raise ValueError("no noise today")

    engine = build_engine(miniature)
    good = simple(miniature, 0, 0, unipc)
    found = engine.run([simple(miniature, 1, 1, unipc, noise=Broken(1, "r", 0)), good])
    assert "c1: cannot be placed: ValueError('no noise today')" in str(found["c1"])
    assert torch.equal(latents(found["c0"]), one(miniature, good))
    assert engine.idle


def test_a_diverged_canvas_does_not_touch_its_neighbours(miniature: Bundle, unipc: SolverTable) -> None:
    good, free = simple(miniature, 0, 0, unipc), simple(miniature, 2, None, unipc)
    nowhere = KeyedTensor("poison", torch.full(LATENT, float("nan")))
    poison = simple(miniature, 1, None, unipc, controls=(ControlInput(BLENDED, nowhere),))
    found = build_engine(miniature).run([poison, good, free])
    assert not bool(torch.isfinite(latents(found["c1"])).any())
    assert torch.equal(latents(found["c0"]), one(miniature, good))
    assert torch.equal(latents(found["c2"]), one(miniature, free)), "nor one without control, which shares its index"
    engine = build_engine(miniature, slots=1, control_slots=1)
    engine.run([poison])
    assert bool(torch.isfinite(latents(engine.run([good])["c0"])).all()), "a slot is clean after a diverged canvas"


def test_what_can_never_fit_is_refused_alone(miniature: Bundle, unipc: SolverTable) -> None:
    engine = build_engine(miniature, slots=1, control_slots=1)
    good = simple(miniature, 0, 0, unipc)
    refused = {
        "needs 2 rows": replace(good, key="guided", guidance=Guidance(2.0, "full", prompt(miniature, ""))),
        "needs a negative prompt": replace(good, key="negative", guidance=Guidance(2.0)),
        "keeps 41 latents": replace(good, key="long", table=table_of(miniature, "ddim", 40)),
        "no control branch other": replace(good, key="other", controls=(ControlInput("other", condition(0)),)),
        "expected each once": replace(good, key="twice", controls=(*good.controls, *good.controls)),
        "no image latents": replace(good, key="image", table=table_of(miniature, "unipc", 4, strength=0.5)),
        "values of the condition of blended are (4, 1, 1)": replace(
            good, key="broadcast", controls=(ControlInput(BLENDED, KeyedTensor("flat", torch.zeros(4, 1, 1))),)
        ),
        "image latents are (4, 8, 8)": replace(good, key="small", image=torch.zeros(4, 8, 8)),
        "prompt embeddings are": replace(good, key="prompt", prompt=KeyedTensor("short", torch.zeros(3, 128))),
        "takes no mask": replace(
            good, key="mask", repaint=Repaint(torch.zeros(16, 16, dtype=torch.bool), random_latents(0))
        ),
    }
    found = engine.run([*refused.values(), good])
    for text, canvas in refused.items():
        assert isinstance(found[canvas.key], CanvasError), canvas.key
        assert str(found[canvas.key]).startswith(f"{canvas.key}: ")
        assert text in str(found[canvas.key])
    assert isinstance(found["c0"], torch.Tensor)


def test_a_key_is_in_the_engine_once(miniature: Bundle, unipc: SolverTable) -> None:
    engine = build_engine(miniature)
    engine.submit(simple(miniature, 0, 0, unipc))
    with pytest.raises(CanvasError, match="c0: a canvas of this key is in the engine already"):
        engine.submit(simple(miniature, 0, 1, unipc))
    assert [left.key for left in engine.drain()] == ["c0"]
    engine.submit(simple(miniature, 0, 0, unipc))
    assert not engine.idle


def test_a_unet_that_sees_masks_wants_one(miniature: Bundle, unipc: SolverTable) -> None:
    engine = build_engine(miniature, unet=inpainting_unet(miniature))
    found = engine.run([simple(miniature, 0, 0, unipc)])
    assert "the UNet wants mask and masked picture" in str(found["c0"])


def test_warming_up_changes_no_bit(miniature: Bundle, unipc: SolverTable) -> None:
    engine = build_engine(miniature)
    assert engine.warm_up() > 0
    good = simple(miniature, 0, 0, unipc)
    assert torch.equal(latents(engine.run([good])["c0"]), one(miniature, good))
