"""The engine on the real miniature: pictures of diffusers, bits independent of the batch, isolated failures."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dentgen.diffusion.canvas import Canvas, ControlInput, Failed, Finished, Repaint
from dentgen.diffusion.engine import DiffusionEngine
from dentgen.diffusion.guidance import Guidance
from dentgen.diffusion.keyed_tensor import KeyedTensor
from dentgen.diffusion.networks import Branches
from dentgen.diffusion.slots import InFlight
from dentgen.diffusion.solver import SolverTable
from dentgen.diffusion.tick_numbers import TickNumbers
from dentgen.errors import CanvasError, ControlError, EngineError
from dentgen.models.autoencoder import LatentCodec
from dentgen.models.bundle import Bundle, load_bundle
from dentgen.models.networks import ControlBranch, UNetDenoiser
from dentgen.seeding import NoiseKey
from tests.diffusion.diffusers_pipelines import (
    HINT,
    SCALE,
    SCHEDULERS,
    Case,
    CtrLoRA,
    diffusers_picture,
    make_case,
    serve_noise,
)
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
    sample_one,
    simple,
    table_of,
)


@pytest.fixture(scope="module")
def unipc(miniature: Bundle) -> SolverTable:
    return table_of(miniature, "unipc", 4)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Canvas]:
    """The canvas in this list provides the noise of diffusers' pipelines."""
    return serve_noise(monkeypatch)


def check_pictures(
    bundle: Bundle,
    cases: list[Case],
    expected: Callable[[Case], NDArray[np.uint8]],
    served: list[Canvas],
    **engine: Any,
) -> None:
    """Sample all cases in one engine; every picture is at most one level of 255 from that of diffusers."""
    columns = max(case.canvas.table.num_columns for case in cases)
    found = build_engine(bundle, slots=7, control_slots=3, columns=columns, **engine).run(c.canvas for c in cases)
    pictures = LatentCodec(bundle.vae, 8).decode([latents(found[c.canvas.key]) for c in cases])
    for case, picture in zip(cases, pictures, strict=True):
        served[:] = [case.canvas]
        difference = np.abs(picture.astype(int) - expected(case).astype(int))
        assert difference.max() <= 1, f"{case.canvas.key}: {difference.max()} levels"
        assert picture.std() > 1, f"{case.canvas.key}: a picture without contrast proves nothing"


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["text", "image", "inpaint"])
def test_pictures_without_control_are_those_of_diffusers(miniature: Bundle, served: list[Canvas], mode: str) -> None:
    unet = miniature.unet
    cases = [
        make_case(miniature, name, steps, mode, (), 1.0 + n % 2, unet) for n, (name, steps) in enumerate(SCHEDULERS)
    ]
    check_pictures(miniature, cases, lambda case: diffusers_picture(miniature, case, None, unet), served)


@pytest.mark.parametrize(
    "mode", ["text", *(pytest.param(mode, marks=pytest.mark.slow) for mode in ("image", "inpaint"))]
)
def test_pictures_with_ctrlora_are_those_of_diffusers(miniature: Bundle, served: list[Canvas], mode: str) -> None:
    controlnet, unet = CtrLoRA.of(miniature), miniature.unet
    (encoded,) = LatentCodec(miniature.vae, 1).encode_control([HINT])
    controls = (ControlInput(BLENDED, KeyedTensor("hint", encoded), SCALE),)
    cases = [
        make_case(miniature, name, steps, mode, controls, 1.0 + (n + 1) % 2, unet)
        for n, (name, steps) in enumerate(SCHEDULERS)
    ]
    check_pictures(miniature, cases, lambda case: diffusers_picture(miniature, case, controlnet, unet), served)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["text", "image", "inpaint"])
def test_pictures_with_a_full_controlnet_are_those_of_diffusers(
    miniature: Bundle, served: list[Canvas], mode: str
) -> None:
    whole, full = full_control(miniature)
    controls = (ControlInput("full", KeyedTensor("hint", full.embed(HINT)), SCALE),)
    cases = [
        make_case(miniature, name, steps, mode, controls, 1.0 + n % 2, miniature.unet)
        for n, (name, steps) in enumerate(SCHEDULERS)
    ]
    expected = partial(diffusers_picture, miniature, controlnet=whole, unet=miniature.unet)
    check_pictures(miniature, cases, expected, served, branches=full_branches(miniature, full))


@pytest.mark.integration
def test_pictures_of_an_inpainting_unet_are_those_of_diffusers(miniature: Bundle, served: list[Canvas]) -> None:
    unet = inpainting_unet(miniature)
    cases = [
        make_case(miniature, name, steps, "inpaint", (), 1.0 + n % 2, unet)
        for n, (name, steps) in enumerate(SCHEDULERS)
    ]
    check_pictures(miniature, cases, lambda case: diffusers_picture(miniature, case, None, unet), served, unet=unet)


def test_bits_do_not_depend_on_neighbours_or_order(miniature: Bundle, unipc: SolverTable) -> None:
    canvases = [simple(miniature, n, n % 3, unipc) for n in range(9)]
    together = build_engine(miniature).run(canvases)
    reverse = build_engine(miniature).run(reversed(canvases))
    alone = build_engine(miniature).run(canvases[4:5])
    for key, sampled in together.items():
        assert torch.equal(latents(sampled), latents(reverse[key]))
    assert torch.equal(latents(alone["c4"]), latents(together["c4"]))


@pytest.mark.slow
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6))
def test_bits_do_not_depend_on_arrival_times(miniature: Bundle, seed: int) -> None:
    """Canvases of every kind arrive at random ticks; each leaves once, with the bits that it has alone."""
    canvases = every_kind(miniature)
    shuffled = random.Random(seed)
    waiting = shuffled.sample(canvases, len(canvases))
    engine = build_engine(miniature, slots=5, control_slots=3, columns=40)
    outcomes: list[Finished | Failed] = []
    while waiting or not engine.idle:
        for _ in range(shuffled.randrange(3)):
            if waiting:
                engine.submit(waiting.pop())
        outcomes += engine.tick()
    assert sorted(outcome.key for outcome in outcomes) == sorted(canvas.key for canvas in canvases)
    for outcome in outcomes:
        assert isinstance(outcome, Finished), outcome
        assert torch.equal(outcome.latents, alone(miniature)[outcome.key]), outcome.key


def every_kind(bundle: Bundle) -> list[Canvas]:
    """Solvers, step counts, guidance, controls and starts all differ."""
    negative = prompt(bundle, PROMPTS[2])
    keep = torch.zeros(LATENT[1:], dtype=torch.bool)
    keep[:3] = True
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
            _ALONE[canvas.key] = sample_one(bundle, canvas, slots=5, control_slots=3, columns=40)
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


@pytest.mark.slow
def test_switching_adapters_leaves_nothing_behind(miniature: Bundle, unipc: SolverTable) -> None:
    """Adapter, bare base and adapter again in one engine: the first and the last have the same bits."""
    base = load_bundle("miniature").shared["base"]
    branches = Branches(shared={**branches_of(miniature).shared, "base": ControlBranch(base)})
    engine = build_engine(miniature, branches=branches)
    a = simple(miniature, 0, 1, unipc)
    b = simple(miniature, 0, None, unipc, controls=(ControlInput("base", condition(1)),))
    found = [latents(engine.run([canvas])["c0"]) for canvas in (a, b, a)]
    assert torch.equal(found[0], found[2])
    assert not torch.equal(found[0], found[1])
    assert torch.equal(found[0], sample_one(miniature, a))
    assert torch.equal(found[1], sample_one(miniature, b, branches=Branches(shared={"base": ControlBranch(base)})))


class FailingBranch:
    """A shared control branch that raises at every call."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __call__(
        self, condition_latents: torch.Tensor, timesteps: torch.Tensor, prompt_embeds: torch.Tensor
    ) -> list[torch.Tensor]:
        raise self.error


FAILING = FailingBranch(ValueError("no hint today"))


@pytest.mark.integration
def test_a_failing_branch_fails_its_canvases_only(miniature: Bundle, unipc: SolverTable) -> None:
    branches = Branches(shared={**branches_of(miniature).shared, "failing": FAILING})
    failing = simple(miniature, 1, None, unipc, controls=(ControlInput("failing", condition(1)),))
    good = simple(miniature, 0, 0, unipc)
    engine = build_engine(miniature, branches=branches)
    found = engine.run([failing, good])
    error = found["c1"]
    assert isinstance(error, ControlError)
    assert error.key == "c1"
    assert "failing" in error.message
    assert "no hint today" in error.message
    assert torch.equal(latents(found["c0"]), sample_one(miniature, good))
    assert torch.equal(latents(engine.run([good])["c0"]), sample_one(miniature, good)), "its slots are free again"


def test_a_failing_branch_of_scale_zero_fails_no_canvas(miniature: Bundle, unipc: SolverTable) -> None:
    branches = Branches(shared={"failing": FAILING})
    acting = simple(miniature, 1, None, unipc, controls=(ControlInput("failing", condition(1)),))
    muted = simple(miniature, 0, None, unipc, controls=(ControlInput("failing", condition(1), 0.0),))
    found = build_engine(miniature, branches=branches).run([acting, muted])
    assert isinstance(found["c1"], ControlError)
    assert torch.equal(latents(found["c0"]), sample_one(miniature, simple(miniature, 0, None, unipc)))


def test_device_faults_stop_the_engine_and_are_not_blamed_on_a_canvas(miniature: Bundle, unipc: SolverTable) -> None:
    lost = FailingBranch(RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED"))
    engine = build_engine(miniature, branches=Branches(shared={"lost": lost}))
    with pytest.raises(RuntimeError) as caught:
        engine.run([simple(miniature, 0, None, unipc, controls=(ControlInput("lost", condition(1)),))])
    assert caught.value is lost.error


def test_a_canvas_whose_noise_fails_fails_alone(miniature: Bundle, unipc: SolverTable) -> None:
    class Broken(NoiseKey):
        def normal(self, purpose: str, step: int, shape: tuple[int, ...]) -> torch.Tensor:
            raise ValueError("no noise today")

    engine = build_engine(miniature)
    good = simple(miniature, 0, 0, unipc)
    found = engine.run([simple(miniature, 1, 1, unipc, noise=Broken(1, "r", 0)), good])
    error = found["c1"]
    assert isinstance(error, CanvasError)
    assert error.key == "c1"
    assert "no noise today" in error.message
    assert torch.equal(latents(found["c0"]), sample_one(miniature, good))
    assert engine.idle


def test_canvases_that_can_never_fit_fail_alone(miniature: Bundle, unipc: SolverTable) -> None:
    engine = build_engine(miniature, slots=1, control_slots=1)
    good = simple(miniature, 0, 0, unipc)
    flat, short = KeyedTensor("flat", torch.zeros(4, 1, 1)), KeyedTensor("short", torch.zeros(3, 128))
    masked = Repaint(torch.zeros(LATENT[1:], dtype=torch.bool), random_latents(0))
    guided = Guidance(2.0, "full", prompt(miniature, ""))
    refused: dict[tuple[object, object], Canvas] = {
        (2, "at most 1"): replace(good, key="guided", guidance=guided),
        ("no negative prompt", "negative prompt embeddings"): replace(good, key="negative", guidance=Guidance(2.0)),
        (41, "at most 24"): replace(good, key="long", table=table_of(miniature, "ddim", 40)),
        ("control branch other", "one of ['blended']"): replace(
            good, key="other", controls=(ControlInput("other", condition(0)),)
        ),
        ("no image latents", "image latents to start from or to keep"): replace(
            good, key="image", table=table_of(miniature, "unipc", 4, strength=0.5)
        ),
        ("shape (4, 1, 1)", LATENT): replace(good, key="broadcast", controls=(ControlInput(BLENDED, flat),)),
        ("shape (4, 4, 4)", LATENT): replace(good, key="small", image=torch.zeros(4, 4, 4)),
        ("shape (3, 128)", (77, 128)): replace(good, key="prompt", prompt=short),
        ("masked latents", "what a UNet of 4 input channels takes"): replace(good, key="mask", repaint=masked),
    }
    found = engine.run([*refused.values(), good])
    for (found_field, expected), canvas in refused.items():
        error = found[canvas.key]
        assert isinstance(error, CanvasError), canvas.key
        assert (error.key, error.found, error.expected) == (canvas.key, found_field, expected)
    assert isinstance(found["c0"], torch.Tensor)


def test_per_row_branches_need_no_control_slots(miniature: Bundle, unipc: SolverTable) -> None:
    """Two prompts would need two control slots of a shared branch."""
    _, full = full_control(miniature)
    engine = build_engine(miniature, slots=2, control_slots=1, branches=full_branches(miniature, full))
    guided = simple(miniature, 0, None, unipc, guidance=Guidance(2.0, "full", prompt(miniature, "")))
    hint = ControlInput("full", KeyedTensor("hint", full.embed(HINT)))
    engine.submit(replace(guided, controls=(hint,)))
    with pytest.raises(CanvasError) as caught:
        engine.submit(replace(guided, key="c1", controls=controlled(1)))
    assert (caught.value.key, caught.value.found, caught.value.expected) == ("c1", 2, "at most 1")
    assert [type(outcome) for outcome in engine.drain()] == [Finished]


def test_errors_of_canvases_read_as_one_line(miniature: Bundle, unipc: SolverTable) -> None:
    engine = build_engine(miniature, slots=1)
    with pytest.raises(CanvasError) as caught:
        engine.submit(simple(miniature, 0, 0, unipc, guidance=Guidance(2.0, "full", prompt(miniature, ""))))
    assert str(caught.value) == "c0: needed row slots: found 2, expected at most 1"


def test_keys_are_unique_among_canvases_in_flight(miniature: Bundle, unipc: SolverTable) -> None:
    engine = build_engine(miniature)
    engine.submit(simple(miniature, 0, 0, unipc))
    with pytest.raises(CanvasError) as caught:
        engine.submit(simple(miniature, 0, 1, unipc))
    assert (caught.value.key, caught.value.expected) == ("c0", "unique keys")
    assert [outcome.key for outcome in engine.drain()] == ["c0"]
    engine.submit(simple(miniature, 0, 0, unipc))
    assert not engine.idle


def test_an_inpainting_unet_requires_masked_latents(miniature: Bundle, unipc: SolverTable) -> None:
    engine = build_engine(miniature, unet=inpainting_unet(miniature))
    error = engine.run([simple(miniature, 0, 0, unipc)])["c0"]
    assert isinstance(error, CanvasError)
    assert error.found == "no masked latents"


@pytest.mark.integration
def test_warm_up_changes_no_bit(miniature: Bundle, unipc: SolverTable) -> None:
    engine = build_engine(miniature)
    assert engine.warm_up() > 0
    good = simple(miniature, 0, 0, unipc)
    assert torch.equal(latents(engine.run([good])["c0"]), sample_one(miniature, good))


def test_warm_up_reports_failing_branches(miniature: Bundle) -> None:
    with pytest.raises(EngineError) as caught:
        build_engine(miniature, branches=Branches(shared={"failing": FAILING})).warm_up()
    assert caught.value.key == "control branch failing"
    assert caught.value.__cause__ is FAILING.error


def test_cuda_graphs_require_a_gpu(miniature: Bundle) -> None:
    shape = build_engine(miniature).shape
    with pytest.raises(EngineError) as caught:
        DiffusionEngine(
            UNetDenoiser(miniature.unet), Branches(), shape, torch.device("cpu"), torch.float32, cuda_graph=True
        )
    assert (caught.value.key, caught.value.found) == ("cuda_graph", "device cpu")


@pytest.mark.integration
def test_canvases_in_preparation_get_the_slots_of_a_list(
    miniature: Bundle, unipc: SolverTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are taken as there is room, and every tick has the same canvases at the same places as with a list."""
    canvases = [
        simple(
            miniature, n, n % 2, unipc, guidance=Guidance(1.5, "full", prompt(miniature, "")) if n % 3 else Guidance()
        )
        for n in range(9)
    ]
    held: list[list[tuple[str, int, tuple[int, ...]]]] = []
    of = TickNumbers.of

    def watched(flights: Sequence[InFlight], *sizes: Any) -> TickNumbers:
        held.append([(flight.canvas.key, flight.slot, flight.rows) for flight in flights])
        return of(flights, *sizes)

    monkeypatch.setattr(TickNumbers, "of", watched)
    expected = build_engine(miniature, slots=3, control_slots=3).run(canvases)
    listed, read_at = held[:], list[int]()
    held.clear()

    def prepared() -> Iterator[Canvas]:
        for each in canvases:
            read_at.append(len(held))
            yield each

    found = build_engine(miniature, slots=3, control_slots=3).run(prepared())
    assert held == listed
    assert all(torch.equal(latents(found[key]), latents(expected[key])) for key in expected)
    assert read_at[:3] == [0, 0, 0]
    assert read_at[-1] > 4, "the last ones only when the first had finished"


def test_errors_of_canvases_in_preparation_are_their_own(miniature: Bundle, unipc: SolverTable) -> None:
    canvases = [simple(miniature, n, 0, unipc) for n in range(4)]
    canvases[2] = replace(canvases[2], controls=(*controlled(0), *controlled(1)))
    found = build_engine(miniature, slots=1, control_slots=1).run(iter(canvases))
    assert [isinstance(found[f"c{n}"], CanvasError) for n in range(4)] == [False, False, True, False]
