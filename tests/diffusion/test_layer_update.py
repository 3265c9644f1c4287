"""Laws of updates: what they equal, from which step on, what they leave alone; on small networks and the miniature."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import pytest
import torch

from dentgen.diffusion.canvas import Canvas, ControlInput, Finished
from dentgen.diffusion.engine import DiffusionEngine
from dentgen.diffusion.guidance import Guidance
from dentgen.diffusion.keyed_tensor import KeyedTensor
from dentgen.diffusion.layer_update import LayerUpdate, PendingUpdate, UpdateQueue
from dentgen.diffusion.networks import Branches, EngineShape
from dentgen.diffusion.regions import Bootstrap, Layers, Region
from dentgen.diffusion.solver import SolverTable
from dentgen.diffusion.windows import cover
from dentgen.errors import CanvasError, EngineError
from dentgen.models.bundle import Bundle
from dentgen.models.schedulers import make_scheduler
from dentgen.seeding import NoiseKey
from dentgen.spec.sampling import SchedulerName
from tests.diffusion.multidiffusion_reference import Part, Start, sampled
from tests.diffusion.parts import LATENT, PROMPTS, build_engine, prompt, relative_error, simple, table_of
from tests.diffusion.toy_networks import TOKENS, WIDTH, LocalDenoiser, TwoLevelControl, engine, words

SIZE = 16
Updates = Mapping[int, tuple[LayerUpdate, ...]]


@pytest.fixture(scope="module")
def lcm(miniature: Bundle) -> SolverTable:
    return table_of(miniature, "lcm", 5)


def box(top: int, bottom: int, left: int, right: int, size: int = SIZE) -> torch.Tensor:
    mask = torch.zeros(size, size)
    mask[top:bottom, left:right] = 1
    return mask


def regions(*parts: tuple[int, torch.Tensor], **more: Any) -> Layers:
    return Layers(tuple(Region(words(n), mask, **more) for n, mask in parts))


def canvas(table: SolverTable, layers: Layers | None = None, number: int = 0, **more: Any) -> Canvas:
    values = {"key": f"c{number}", "noise": NoiseKey(3, f"r{number}", 0), "table": table, "prompt": words(number)}
    return Canvas(**{**values, "layers": layers or Layers(), **more})


def run(on: DiffusionEngine, canvases: list[Canvas], updates: Updates | None = None, key: str = "") -> dict[str, Any]:
    """Latents by key; ``updates`` of one canvas are asked for before the tick of that number."""
    for each in canvases:
        on.submit(each)
    found: dict[str, torch.Tensor] = {}
    tick = 0
    while not on.idle:
        for update in (updates or {}).get(tick, ()):
            on.update(key or canvases[0].key, update)
        for outcome in on.tick():
            assert isinstance(outcome, Finished), outcome
            found[outcome.key] = outcome.latents
        tick += 1
    return found


MASKS = (box(0, 8, 0, 9), box(5, 16, 3, 16))


@pytest.mark.parametrize("guidance", [Guidance(), Guidance(2.5, "full", words(9)), Guidance(1.3, "self")])
def test_the_same_values_change_no_bit(lcm: SolverTable, guidance: Guidance) -> None:
    sample = canvas(lcm, regions((1, MASKS[0]), (2, MASKS[1])), guidance=guidance, controls=())
    same = (
        LayerUpdate(prompt=words(0)),
        LayerUpdate(1, prompt=words(1), mask=MASKS[0].clone(), strength=1.0, prompt_strength=1.0),
        LayerUpdate(2, prompt=words(2), mask=MASKS[1].clone()),
    )
    expected = run(engine(), [sample])["c0"]
    assert torch.equal(run(engine(), [sample], dict.fromkeys(range(5), same))["c0"], expected)


CHANGES = (
    LayerUpdate(prompt=words(5)),
    LayerUpdate(1, prompt=words(6)),
    LayerUpdate(1, mask=box(3, 12, 2, 9) * 0.99),
    LayerUpdate(2, strength=0.9),
    LayerUpdate(2, prompt_strength=0.4),
    LayerUpdate(1, negative=words(8)),
)


@pytest.mark.parametrize("update", CHANGES)
def test_an_update_before_the_first_tick_is_another_request(lcm: SolverTable, update: LayerUpdate) -> None:
    sample = canvas(lcm, regions((1, MASKS[0]), (2, MASKS[1])), guidance=Guidance(2.0, "full", words(9)))
    changed = update.applied(sample)
    found = run(engine(), [sample], {0: (update,)})["c0"]
    assert torch.equal(found, run(engine(), [changed])["c0"])
    assert not torch.equal(found, run(engine(), [sample])["c0"])


def test_an_update_of_a_waiting_canvas_is_another_request(lcm: SolverTable) -> None:
    """One that is queued behind a full engine, three ticks long."""
    first, second = canvas(lcm, regions((1, MASKS[0]))), canvas(lcm, regions((1, MASKS[0])), 1)
    update = LayerUpdate(1, prompt=words(6), mask=MASKS[1])
    found = run(engine(slots=2), [first, second], {3: (update,)}, "c1")
    assert torch.equal(found["c1"], run(engine(slots=2), [update.applied(second)])["c1"])
    assert torch.equal(found["c0"], run(engine(slots=2), [first])["c0"])


@pytest.mark.parametrize("continuous", [False, True])
@pytest.mark.parametrize("step", [1, 2, 4])
def test_an_update_acts_from_its_step_on(miniature: Bundle, lcm: SolverTable, step: int, continuous: bool) -> None:
    """Against StreamMultiDiffusion's loop in float64, written from the paper, that switches its layers at this step."""
    scheduler = make_scheduler("lcm", miniature.folder)
    scheduler.set_timesteps(5)
    edge = "continuous" if continuous else "discrete"
    sample = canvas(lcm, regions((1, MASKS[0]), (2, MASKS[1]), edge=edge))
    noises = [sample.noise.normal("initial", 0, (4, SIZE, SIZE))]
    noises += [sample.noise.normal("injected", k, (4, SIZE, SIZE)) for k in range(4)]
    before = ([Part(words(1).values, MASKS[0]), Part(words(2).values, MASKS[1])], words(0).values)
    soft = box(2, 14, 4, 12) * 0.8
    mixed = torch.lerp(words(7).values.double(), words(2).values.double(), 0.3)
    after = ([Part(words(6).values, soft), Part(mixed, 0.7 * MASKS[1])], words(7).values)
    expected, _ = sampled(
        LocalDenoiser().double(), scheduler, *before, noises, Start(torch.zeros(4, SIZE, SIZE)), continuous,
        switched={step: after},
    )  # fmt: skip
    updates = (
        LayerUpdate(prompt=words(7)),
        LayerUpdate(1, prompt=words(6), mask=soft),
        LayerUpdate(2, strength=0.7, prompt_strength=0.3),
    )
    found = run(engine(), [sample], {step: updates})["c0"]
    assert relative_error(found.double(), expected) < 1e-4
    assert relative_error(found, run(engine(), [sample])["c0"]) > 1e-3, "ten times the tolerance"


@pytest.mark.parametrize("name", ["unipc", "euler_ancestral"])
def test_before_its_step_nothing_has_changed(miniature: Bundle, name: SchedulerName) -> None:
    """A canvas with an update equals one without up to its step, and one that always had the values never after."""
    table = table_of(miniature, name, 4)
    sample, on, other = canvas(table, regions((1, MASKS[0]))), engine(), engine()
    applied = list[Future[int]]()
    on.submit(sample)
    other.submit(sample)
    for step in range(4):
        assert torch.equal(on._state.latents, other._state.latents) == (step <= 2)
        if step == 2:
            applied.append(on.update("c0", LayerUpdate(1, prompt=words(4))))
        on.tick(), other.tick()
    assert [one.result(0) for one in applied] == [2]


def test_a_region_emptied_by_an_update_leaves_the_background(lcm: SolverTable) -> None:
    """From the first tick on it is the plain picture; later, that of a region that ends there."""
    gone = LayerUpdate(1, mask=torch.zeros(SIZE, SIZE))
    sample = canvas(lcm, regions((1, MASKS[0])))
    assert torch.equal(run(engine(), [sample], {0: (gone,)})["c0"], run(engine(regions=0), [canvas(lcm)])["c0"])
    ended = canvas(lcm, regions((1, MASKS[0]), end=0.4))
    assert torch.equal(run(engine(), [sample], {2: (gone,)})["c0"], run(engine(), [ended])["c0"])
    assert torch.equal(
        run(engine(), [sample], {2: (LayerUpdate(1, strength=0.0),)})["c0"], run(engine(), [ended])["c0"]
    )


def test_later_updates_count(lcm: SolverTable) -> None:
    sample = canvas(lcm, regions((1, MASKS[0])))
    several = (LayerUpdate(1, prompt=words(4)), LayerUpdate(1, mask=MASKS[1]), LayerUpdate(1, prompt=words(5)))
    found = run(engine(), [sample], {2: several})["c0"]
    assert torch.equal(found, run(engine(), [sample], {2: (LayerUpdate(1, words(5), MASKS[1]),)})["c0"])
    assert not torch.equal(found, run(engine(), [sample], {2: several[::-1]})["c0"])


def test_neighbours_keep_their_bits(lcm: SolverTable, miniature: Bundle) -> None:
    """Neighbours of other solvers, with regions and guidance; two of them share the updated canvas's control slot."""
    unipc = table_of(miniature, "unipc", 4)
    shown = KeyedTensor("shown", torch.randn(4, SIZE, SIZE, generator=torch.Generator().manual_seed(1)))
    controls = (ControlInput("control", shown),)
    canvases = [
        canvas(lcm, regions((1, MASKS[0])), 0, controls=controls),
        canvas(lcm, regions((1, MASKS[0])), 1, controls=controls, prompt=words(0)),
        canvas(unipc, regions((1, MASKS[1])), 2, guidance=Guidance(2.0, "full", words(9)), controls=controls),
        canvas(lcm, None, 3, prompt=words(1), controls=controls),
    ]
    updates = {1: (LayerUpdate(prompt=words(5)), LayerUpdate(1, words(6), MASKS[1])), 3: (LayerUpdate(1, words(1)),)}
    plain = run(engine(slots=10, controlled=True), canvases)
    found = run(engine(slots=10, controlled=True), canvases, updates, "c0")
    assert [torch.equal(found[each.key], plain[each.key]) for each in canvases] == [False, True, True, True]
    alone = run(engine(slots=10, controlled=True), canvases[:1], updates)
    assert torch.equal(alone["c0"], found["c0"])


def test_control_sees_the_new_prompt(lcm: SolverTable) -> None:
    shown = KeyedTensor("shown", torch.ones(4, SIZE, SIZE))
    sample = canvas(lcm, regions((1, MASKS[0])), controls=(ControlInput("control", shown),))
    update = LayerUpdate(prompt=words(5))
    found = run(engine(controlled=True), [sample], {0: (update,)})["c0"]
    assert torch.equal(found, run(engine(controlled=True), [update.applied(sample)])["c0"])


def shown(number: int, branch: str = "control", **more: Any) -> tuple[ControlInput, ...]:
    values = torch.randn(4, SIZE, SIZE, generator=torch.Generator().manual_seed(number))
    return (ControlInput(branch, KeyedTensor(f"shown {number}", values), **more),)


class PerRowControl:
    """The same network as a branch that sees latents and hints."""

    hint_shape = (4, SIZE, SIZE)

    def __call__(
        self, latents: torch.Tensor, timesteps: torch.Tensor, prompt_embeds: torch.Tensor, hints: torch.Tensor
    ) -> Sequence[torch.Tensor]:
        return TwoLevelControl()(hints + 0.5 * latents, timesteps, prompt_embeds)


def two_branched(kind: str, names: tuple[str, ...]) -> DiffusionEngine:
    shared = {name: TwoLevelControl() for name in names if kind == "shared"}
    per_row = {name: PerRowControl() for name in names if kind == "per_row"}
    shape = EngineShape(4, 4, (SIZE, SIZE), TOKENS, WIDTH, columns=16, weighted=True, regions=1)
    return DiffusionEngine(LocalDenoiser(), Branches(shared, per_row), shape, torch.device("cpu"), torch.float32)


@pytest.mark.parametrize("kind", ["shared", "per_row"])
@pytest.mark.parametrize("step", [0, 1, 3])
def test_another_condition_acts_from_its_step_on(lcm: SolverTable, step: int, kind: str) -> None:
    """As two branches of which one ends where the other one begins, each with places and a scale of its own."""
    places = box(2, 9, 0, 16)
    old, new = {"scale": 0.8}, {"scale": 1.3, "where": places}
    both = (*shown(1, "a", end=step / 5, **old), *shown(2, "b", start=step / 5, **new))
    expected = run(two_branched(kind, ("a", "b")), [canvas(lcm, regions((1, MASKS[0])), controls=both)])["c0"]
    sample = canvas(lcm, regions((1, MASKS[0])), controls=shown(1, "a", **old))
    found = run(two_branched(kind, ("a",)), [sample], {step: (LayerUpdate(controls=shown(2, "a", **new)),)})["c0"]
    assert torch.equal(found, expected)
    assert not torch.equal(found, run(two_branched(kind, ("a",)), [sample])["c0"])


def test_a_canvas_whose_control_changes_leaves_alone_those_that_share_its_condition(lcm: SolverTable) -> None:
    canvases = [canvas(lcm, None, n, prompt=words(0), controls=shown(1)) for n in range(3)]
    plain = run(engine(controlled=True), canvases)
    other = LayerUpdate(controls=shown(2))
    updates = {1: (other,), 2: (LayerUpdate(controls=()),), 3: (other,)}
    found = run(engine(controlled=True), canvases, updates, "c0")
    assert [torch.equal(found[each.key], plain[each.key]) for each in canvases] == [False, True, True]
    assert torch.equal(run(engine(controlled=True), canvases[:1], updates)["c0"], found["c0"])


def test_without_a_free_control_slot_a_canvas_goes_on_as_it_was(lcm: SolverTable) -> None:
    """Two canvases share the only control slot, so the prompt of one of them cannot change."""
    shape = EngineShape(4, 1, (SIZE, SIZE), TOKENS, WIDTH, columns=16, regions=1)

    def small() -> DiffusionEngine:
        branches = Branches(shared={"control": TwoLevelControl()})
        return DiffusionEngine(LocalDenoiser(), branches, shape, torch.device("cpu"), torch.float32)

    controls = (ControlInput("control", KeyedTensor("shown", torch.ones(4, SIZE, SIZE))),)
    canvases = [canvas(lcm, None, n, prompt=words(0), controls=controls) for n in range(2)]
    expected, on = run(small(), canvases), small()
    for each in canvases:
        on.submit(each)
    on.tick()
    refused = on.update("c0", LayerUpdate(prompt=words(5)))
    found = {outcome.key: outcome.latents for outcome in on.drain() if isinstance(outcome, Finished)}
    error = refused.exception(0)
    assert isinstance(error, CanvasError)
    assert (error.key, error.found) == ("c0", "none of 1 free")
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_windows_see_their_part_of_a_new_mask(lcm: SolverTable) -> None:
    windows = cover((SIZE, 2 * SIZE), (SIZE, SIZE))
    shape = EngineShape(
        8, 8, (SIZE, 2 * SIZE), TOKENS, WIDTH, columns=16, regions=1, window=(SIZE, SIZE), windows=len(windows)
    )

    def wide() -> DiffusionEngine:
        return DiffusionEngine(LocalDenoiser(), Branches(), shape, torch.device("cpu"), torch.float32)

    mask = torch.zeros(SIZE, 2 * SIZE)
    mask[3:9, 10:28] = 1
    sample = canvas(lcm, regions((1, torch.zeros(SIZE, 2 * SIZE))), windows=windows)
    update = LayerUpdate(1, mask=mask)
    assert torch.equal(run(wide(), [sample], {0: (update,)})["c0"], run(wide(), [update.applied(sample)])["c0"])


def test_regions_of_the_bootstrap_move_to_the_new_middle(lcm: SolverTable) -> None:
    bootstrap = Bootstrap(torch.ones(4, SIZE, SIZE), 2, 2.0, leak=0.2, stride=2)
    sample = canvas(lcm, replace(regions((1, MASKS[0])), bootstrap=bootstrap))
    update = LayerUpdate(1, mask=box(10, 15, 9, 15))
    found = run(engine(centred=True), [sample], {0: (update,)})["c0"]
    assert torch.equal(found, run(engine(centred=True), [update.applied(sample)])["c0"])


@pytest.mark.integration
def test_on_the_miniature(miniature: Bundle) -> None:
    """The same laws with the real network and its control."""
    table = table_of(miniature, "unipc", 3)
    size = LATENT[1]
    half = box(0, size, 0, size // 2, size)
    own, other = prompt(miniature, PROMPTS[0]), prompt(miniature, PROMPTS[1])
    sample = simple(miniature, 0, 0, table, layers=Layers((Region(other, half),)))
    beside = simple(miniature, 1, 0, table)
    same = {1: (LayerUpdate(prompt=own), LayerUpdate(1, other, half.clone()))}
    change = LayerUpdate(1, own, 0.9 * half)
    plain = run(build_engine(miniature, regions=1), [sample, beside])
    assert all(
        torch.equal(values, plain[key])
        for key, values in run(build_engine(miniature, regions=1), [sample, beside], same).items()
    )
    early = run(build_engine(miniature, regions=1), [sample, beside], {0: (change,)})
    assert torch.equal(early["c0"], run(build_engine(miniature, regions=1), [change.applied(sample)])["c0"])
    late = run(build_engine(miniature, regions=1), [sample, beside], {1: (change,)})
    assert torch.equal(late["c1"], plain["c1"])
    assert torch.equal(early["c1"], plain["c1"])
    assert len({float(each["c0"].sum()) for each in (plain, early, late)}) == 3


def outcome(on: DiffusionEngine, key: str, update: LayerUpdate) -> CanvasError:
    applied = on.update(key, update)
    on.tick()
    error = applied.exception(0)
    assert isinstance(error, CanvasError)
    return error


@pytest.mark.parametrize(
    ("update", "found"),
    [(LayerUpdate(1, controls=()), ["controls"]), (LayerUpdate(controls=shown(1, "b")), "control branch b")],
)
def test_control_belongs_to_the_canvas_and_its_branches_to_the_engine(
    lcm: SolverTable, update: LayerUpdate, found: object
) -> None:
    sample, on = canvas(lcm, regions((1, MASKS[0])), controls=shown(1)), engine(controlled=True)
    on.submit(sample)
    error = outcome(on, "c0", update)
    assert (error.key, error.found) == ("c0", found)
    (finished,) = on.drain()
    assert isinstance(finished, Finished)
    assert torch.equal(finished.latents, run(engine(controlled=True), [sample])["c0"])


def test_errors_name_what_is_wrong_and_change_nothing(lcm: SolverTable) -> None:
    sample, on = canvas(lcm, regions((1, MASKS[0]))), engine()
    expected = run(engine(), [sample])["c0"]
    on.submit(sample)
    with pytest.raises(CanvasError) as caught:
        on.update("other", LayerUpdate())
    assert (caught.value.key, caught.value.found) == ("other", "no canvas of this key in the engine")
    wrong = [
        (LayerUpdate(2, prompt=words(1)), "layer", 2),
        (LayerUpdate(0, mask=MASKS[0]), "update of layer 0", ["mask"]),
        (LayerUpdate(1, mask=torch.zeros(4, 4)), "mask of a region", "shape (4, 4)"),
        (LayerUpdate(1, strength=1.5), "strength of a region", 1.5),
    ]
    for update, message, found in wrong:
        error = outcome(on, "c0", update)
        assert (error.key, error.message, error.found) == ("c0", message, found)
    (finished,) = on.drain()
    assert isinstance(finished, Finished)
    assert torch.equal(finished.latents, expected)


@pytest.mark.parametrize(
    "update",
    [
        LayerUpdate(prompt=KeyedTensor("short", torch.zeros(TOKENS - 1, WIDTH))),
        LayerUpdate(1, prompt=KeyedTensor("short", torch.zeros(TOKENS - 1, WIDTH)), prompt_strength=0.5),
        LayerUpdate(1, mask=torch.full((SIZE, SIZE), torch.nan)),
        LayerUpdate(1, prompt_strength=-0.1),
    ],
)
def test_values_that_no_canvas_may_have_are_refused(lcm: SolverTable, update: LayerUpdate) -> None:
    on = engine()
    on.submit(canvas(lcm, regions((1, MASKS[0]))))
    assert outcome(on, "c0", update).key == "c0"


def test_a_finished_canvas_has_no_updates(lcm: SolverTable) -> None:
    """Finished before the call, and finished by the tick during which it was called."""
    on = engine()
    on.submit(canvas(lcm))
    for _ in range(4):
        on.tick()

    class Late(LocalDenoiser):
        def forward(self, *inputs: Any) -> torch.Tensor:
            self.pending = on.update("c0", LayerUpdate(prompt=words(5)))
            return super().forward(*inputs)

    late = Late()
    on._state._unet = late
    assert len(on.tick()) == 1
    on.tick()
    error = late.pending.exception(0)
    assert isinstance(error, CanvasError)
    assert error.key == "c0"
    with pytest.raises(CanvasError):
        on.update("c0", LayerUpdate())


def test_a_background_without_a_row_stays_covered(lcm: SolverTable) -> None:
    on = engine()
    on.submit(canvas(lcm, Layers((Region(words(1), torch.ones(SIZE, SIZE)),), background=False)))
    error = outcome(on, "c0", LayerUpdate(1, mask=MASKS[0]))
    assert (error.key, error.message) == ("c0", "layers")
    applied = on.update("c0", LayerUpdate(1, prompt=words(3)))
    on.tick()
    assert applied.result(0) == 1


def test_threads_may_update_while_another_one_ticks(lcm: SolverTable) -> None:
    """Every update is applied once or refused because its canvas has left; the last one of a canvas counts."""
    on, outcomes = engine(slots=4), list[Any]()
    for number in range(12):
        on.submit(canvas(lcm, regions((1, MASKS[0])), number))

    def paint(number: int) -> None:
        for turn in range(20):
            try:
                outcomes.append(on.update(f"c{number}", LayerUpdate(1, prompt=words(turn), mask=MASKS[turn % 2])))
            except CanvasError:
                return

    threads = [threading.Thread(target=paint, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    finished = on.drain()
    for thread in threads:
        thread.join(60)
    on.tick()
    assert sorted(each.key for each in finished) == sorted(f"c{n}" for n in range(12))
    assert outcomes
    assert all(each.done() for each in outcomes)


def test_a_queue_hands_out_each_update_once_and_none_that_was_cancelled() -> None:
    queue = UpdateQueue()
    first, cancelled, last = (PendingUpdate(key, LayerUpdate()) for key in "abc")
    for pending in (first, cancelled, last):
        queue.put(pending)
    cancelled.applied.cancel()
    assert queue.take() == [first, last]
    assert queue.take() == []
    queue.put(waiting := PendingUpdate("d", LayerUpdate()))
    queue.fail(EngineError("gone"))
    assert isinstance(waiting.applied.exception(0), EngineError)
