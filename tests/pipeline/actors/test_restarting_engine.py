"""The engine that several threads share: rebuilt after its death, whoever notices it, and drained per call if asked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch

from dentgen.diffusion.canvas import Canvas, Failed, Finished, Sampled
from dentgen.diffusion.driver import EngineDriver
from dentgen.diffusion.engine import DiffusionEngine
from dentgen.errors import EngineError
from dentgen.pipeline.actors.heartbeat import Beat
from dentgen.pipeline.actors.restarting_engine import RestartingEngine, _Again
from tests.pipeline.actors.two_units import SECONDS, EngineWatch, TwoUnits, at_once, until


@pytest.fixture(scope="module")
def units(tmp_path_factory: pytest.TempPathFactory, demo_members: dict[str, dict[str, bytes]]) -> TwoUnits:
    return TwoUnits.of(tmp_path_factory.mktemp("two-units"), demo_members)


def dies(monkeypatch: pytest.MonkeyPatch, times: int) -> list[DiffusionEngine]:
    """Let N engines die in their first tick; returns those that died."""
    tick, died = DiffusionEngine.tick, list[DiffusionEngine]()

    def fails(engine: DiffusionEngine) -> list[Finished | Failed]:
        if len(died) < times and not engine.idle:
            died.append(engine)
            raise MemoryError("planted")
        return tick(engine)

    monkeypatch.setattr(DiffusionEngine, "tick", fails)
    return died


def count_submissions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Keys of the canvases that drivers were given, from now on."""
    put, keys = EngineDriver._put, list[str]()

    def counted(driver: EngineDriver, item: Any) -> None:
        put(driver, item)
        keys.append(item.canvas.key)

    monkeypatch.setattr(EngineDriver, "_put", counted)
    return keys


def equal(found: dict[str, Sampled], expected: dict[str, Sampled]) -> bool:
    return found.keys() == expected.keys() and all(
        isinstance(latents, torch.Tensor) and torch.equal(latents, expected[key])  # type: ignore[arg-type]
        for key, latents in found.items()
    )


@pytest.mark.integration
def test_an_engine_that_dies_once_gives_the_same_latents(units: TwoUnits, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = RestartingEngine(units.generator)
    expected = engine.run(units.canvases(0))
    died = dies(monkeypatch, 1)
    found = engine.run(units.canvases(0))
    assert len(died) == 1
    assert not engine.dead
    assert equal(found, expected)


@pytest.mark.integration
def test_canvases_in_preparation_are_taken_again_after_a_death(
    units: TwoUnits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine dies when the last one has not been prepared yet; none is prepared twice."""
    engine, prepared = RestartingEngine(units.generator), list[str]()
    canvases = [*units.canvases(0), *units.canvases(1)]
    expected = engine.run(canvases)
    died = dies(monkeypatch, 1)

    def preparing() -> Iterator[Canvas]:
        for number, canvas in enumerate(canvases):
            assert number < len(canvases) - 1 or until(lambda: died)
            prepared.append(canvas.key)
            yield canvas

    assert equal(engine.run(preparing()), expected)
    assert prepared == [canvas.key for canvas in canvases]


def test_calls_that_take_turns_prepare_all_of_theirs_first(units: TwoUnits, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, submitted = RestartingEngine(units.generator, drain_per_call=True), count_submissions(monkeypatch)

    def preparing() -> Iterator[Canvas]:
        for canvas in units.canvases(0):
            assert not submitted
            yield canvas

    assert len(engine.run(preparing())) == len(submitted) == 2


@pytest.mark.integration
def test_an_engine_that_dies_twice_under_a_call_is_an_error(units: TwoUnits, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = RestartingEngine(units.generator)
    died = dies(monkeypatch, 2)
    with pytest.raises(EngineError):
        engine.run(units.canvases(0))
    assert len(died) == 2
    assert engine.dead
    assert len(engine.run(units.canvases(0))) == 2, "the next call starts a third engine"
    assert not engine.dead


@pytest.mark.integration
def test_other_work_is_done_by_a_new_engine_too(units: TwoUnits, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = RestartingEngine(units.generator)
    dies(monkeypatch, 2)
    with pytest.raises(EngineError):
        engine.run(units.canvases(0))
    assert engine.call(lambda: 7) == 7
    assert not engine.dead


def test_an_error_that_does_not_kill_the_engine_is_not_retried(units: TwoUnits) -> None:
    engine, calls = RestartingEngine(units.generator), list[int]()

    def fails() -> None:
        calls.append(1)
        raise EngineError("planted")

    with pytest.raises(EngineError):
        engine.call(fails)
    assert calls == [1]
    assert not engine.dead


@pytest.mark.integration
def test_a_call_whose_engine_another_call_has_replaced_is_retried(
    units: TwoUnits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both calls wait on the engine that dies; the second sees its error when the first has a new engine already."""
    engine, calls = RestartingEngine(units.generator), [units.canvases(0), units.canvases(1)]
    expected = [engine.run(canvases) for canvases in calls]
    died, replaced, slow_key = dies(monkeypatch, 1), threading.Event(), calls[1][0].key
    run = EngineDriver.run

    def slow_to_fail(driver: EngineDriver, canvases: Sequence[Canvas], began: float) -> dict[str, Sampled]:
        try:
            return run(driver, canvases, began)
        except EngineError:
            assert canvases[0].key != slow_key or replaced.wait(SECONDS)
            raise

    monkeypatch.setattr(EngineDriver, "run", slow_to_fail)
    submitted, tick = count_submissions(monkeypatch), DiffusionEngine.tick

    def when_both_wait(one: DiffusionEngine) -> list[Finished | Failed]:
        assert died or until(lambda: len(submitted) == 4)
        return tick(one)

    monkeypatch.setattr(DiffusionEngine, "tick", when_both_wait)

    def first() -> dict[str, Sampled]:
        try:
            return engine.run(calls[0])
        finally:
            replaced.set()

    found = [future.result() for future in at_once([first, lambda: engine.run(calls[1])])]
    assert len(died) == 1
    assert all(equal(one, wanted) for one, wanted in zip(found, expected, strict=True))


def test_other_work_whose_engine_a_run_has_replaced_is_done(units: TwoUnits, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine dies and is replaced between the choice of a driver and the question to it."""
    engine, died, call = RestartingEngine(units.generator), dies(monkeypatch, 1), EngineDriver.call

    def late(driver: EngineDriver, work: Callable[[], int]) -> int:
        if not died:
            engine.run(units.canvases(0))
        return call(driver, work)

    monkeypatch.setattr(EngineDriver, "call", late)
    assert engine.call(lambda: 7) == 7
    assert len(died) == 1


@pytest.mark.slow
@pytest.mark.parametrize("drain", [True, False])
def test_calls_share_the_engine_unless_it_is_drained(
    drain: bool, units: TwoUnits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the first call's canvases are in the engine, the second call has every chance to submit its own."""
    engine, calls = RestartingEngine(units.generator, drain_per_call=drain), [units.canvases(0), units.canvases(1)]
    expected = [engine.run(canvases) for canvases in calls]
    submitted, watch = count_submissions(monkeypatch), EngineWatch()
    watch.before_tick = lambda _: until(lambda: len(submitted) == 4, 0.05 if drain else SECONDS)
    watch.install(monkeypatch)
    works: list[Callable[[], dict[str, Sampled]]] = [lambda: engine.run(calls[0]), lambda: engine.run(calls[1])]
    found = [future.result() for future in at_once(works)]
    assert all(equal(one, wanted) for one, wanted in zip(found, expected, strict=True)), "the same bits either way"
    assert max(len(records) for records in watch.held) == (1 if drain else 2)
    assert frozenset().union(*watch.held) == {key.rpartition("-v")[0] for call in expected for key in call}


def test_a_heartbeat_gets_the_progress_of_the_engine(units: TwoUnits) -> None:
    engine = RestartingEngine(units.generator)
    engine.run(units.canvases(0))
    beat = engine.describe(Beat("here process 1", up_seconds=9.0))
    assert (beat.place, beat.up_seconds) == ("here process 1", 9.0)
    assert beat.ticks >= units.plan.spec.sampling.steps
    assert beat.busy_seconds >= beat.longest_tick > 0
    assert beat.tick_seconds == 0


def test_an_error_of_preparing_is_raised_again_by_the_next_engine() -> None:
    """A generator that raised looks exhausted: its samples would be missing from the unit."""

    def canvases() -> Iterator[Any]:
        yield "first"
        raise EngineError("planted")

    again = _Again(canvases())
    for _ in range(2):
        taken: Iterator[Any] = iter(again)
        assert next(taken) == "first"
        with pytest.raises(EngineError):
            next(taken)
