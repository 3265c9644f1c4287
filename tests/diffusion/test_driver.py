"""The engine's thread: shared by several callers, and errors at once when the engine dies or the driver is closed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace

import pytest
import torch

from dentgen.diffusion.canvas import Canvas, Failed, Finished, Sampled
from dentgen.diffusion.driver import EngineDriver
from dentgen.diffusion.engine import DiffusionEngine
from dentgen.diffusion.guidance import Guidance
from dentgen.diffusion.layer_update import LayerUpdate
from dentgen.errors import CanvasError, EngineError
from dentgen.models.bundle import Bundle
from tests.diffusion.parts import PROMPTS, build_engine, latents, prompt, simple, table_of


def canvases(bundle: Bundle, first: int, count: int) -> list[Canvas]:
    table = table_of(bundle, "unipc", 4)
    return [simple(bundle, n, n % 2, table) for n in range(first, first + count)]


@pytest.mark.integration
def test_two_callers_share_one_engine(miniature: Bundle) -> None:
    expected = build_engine(miniature).run(canvases(miniature, 0, 10))
    driver = EngineDriver(build_engine(miniature))
    found: dict[str, Sampled] = {}
    threads = [
        threading.Thread(target=lambda first=first: found.update(driver.run(canvases(miniature, first, 5))))
        for first in (0, 5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    driver.close()
    assert sorted(found) == sorted(expected)
    assert all(torch.equal(latents(found[key]), latents(expected[key])) for key in expected)
    assert driver.busy_seconds >= driver.longest_tick > 0
    assert driver.tick_seconds == 0


def test_a_refused_canvas_fails_alone(miniature: Bundle) -> None:
    driver = EngineDriver(build_engine(miniature, slots=1, control_slots=1))
    good = canvases(miniature, 0, 1)[0]
    too_big = replace(good, key="big", guidance=Guidance(2.0, "full", prompt(miniature, "")))
    found = driver.run([too_big, good])
    assert isinstance(found["big"], CanvasError)
    assert (found["big"].key, found["big"].found) == ("big", 2)
    assert isinstance(found["c0"], torch.Tensor)
    driver.close()


def test_a_dead_engine_fails_waiting_and_later_callers(miniature: Bundle) -> None:
    fault = RuntimeError("device lost")

    class Dying(DiffusionEngine):
        def tick(self) -> list[Finished | Failed]:
            raise fault

    dying = build_engine(miniature)
    dying.__class__ = Dying
    driver = EngineDriver(dying)
    for _ in range(2):
        with pytest.raises(EngineError) as caught:
            driver.run(canvases(miniature, 0, 3))
        assert caught.value.__cause__ is fault
    assert driver.dead


def test_calls_run_on_the_engines_thread(miniature: Bundle) -> None:
    driver = EngineDriver(build_engine(miniature))
    threads = [driver.call(threading.get_ident) for _ in range(3)]
    assert len(set(threads)) == 1
    assert threads[0] != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        driver.call(lambda: 1 // 0)
    assert not driver.dead, "errors of a call are its caller's alone"
    driver.close()


def test_closing_finishes_what_was_submitted(miniature: Bundle) -> None:
    driver = EngineDriver(build_engine(miniature))
    found: dict[str, Sampled] = {}
    running = threading.Thread(target=lambda: found.update(driver.run(canvases(miniature, 0, 3))), daemon=True)
    running.start()
    while not driver.ticks:
        time.sleep(0.01)
    driver.close()
    running.join(60)
    assert sorted(found) == ["c0", "c1", "c2"]
    assert all(isinstance(sampled, torch.Tensor) for sampled in found.values())


def test_callers_that_race_with_closing_get_a_result_or_an_error(miniature: Bundle) -> None:
    """None is left waiting: what was taken is done, and what comes later fails."""
    driver, done, failed = EngineDriver(build_engine(miniature)), list[int](), list[EngineError]()

    def ask() -> None:
        try:
            while True:
                done.append(driver.call(lambda: 7))
        except EngineError as error:
            failed.append(error)

    callers = [threading.Thread(target=ask, daemon=True) for _ in range(8)]
    for caller in callers:
        caller.start()
    while not done:
        time.sleep(0.001)
    driver.close()
    for caller in callers:
        caller.join(20)
    assert len(failed) == len(callers)
    assert set(done) == {7}
    assert not driver.dead


@pytest.mark.integration
def test_the_time_between_ticks_is_counted_from_the_first_one(miniature: Bundle) -> None:
    """Other work in between is busy time, waiting is not, and nothing before the first tick counts."""
    driver = EngineDriver(build_engine(miniature))
    driver.call(lambda: time.sleep(0.05))
    assert driver.between_ticks == (0.0, 0.0)
    driver.run(canvases(miniature, 0, 1))
    began, busy_before = driver.between_ticks, driver.busy_seconds
    assert began[1] <= began[0] < driver.busy_seconds
    driver.call(lambda: time.sleep(0.05))
    time.sleep(0.05)
    driver.run(canvases(miniature, 0, 1))
    driver.close()
    seconds, busy = driver.between_ticks
    assert busy - began[1] == pytest.approx(driver.busy_seconds - busy_before)
    assert busy - began[1] >= 0.05
    assert seconds - busy >= 0.05


def test_a_closed_driver_fails_calls_at_once(miniature: Bundle) -> None:
    driver, waiting = EngineDriver(build_engine(miniature)), canvases(miniature, 0, 1)
    driver.close()
    asks: list[Callable[[], object]] = [lambda: driver.call(int), lambda: driver.run(waiting)]
    for ask in asks:
        errors: list[EngineError] = []

        def call(ask: Callable[[], object] = ask, errors: list[EngineError] = errors) -> None:
            try:
                ask()
            except EngineError as error:
                errors.append(error)

        caller = threading.Thread(target=call, daemon=True)  # it must not keep the test process alive if it hangs
        caller.start()
        caller.join(10)
        assert len(errors) == 1
    assert not driver.dead
    driver.close()


@pytest.mark.integration
def test_canvases_are_taken_as_others_finish(miniature: Bundle) -> None:
    """Two batches of slots at most are submitted and not finished, and the first are sampled meanwhile."""
    driver, taken = EngineDriver(build_engine(miniature, slots=2)), list[int]()
    ticks_when_taken: list[int] = []

    def prepared() -> Iterator[Canvas]:
        for number, each in enumerate(canvases(miniature, 0, 7)):
            taken.append(number)
            ticks_when_taken.append(driver.ticks)
            yield each

    found = driver.run(prepared())
    driver.close()
    assert len(found) == len(taken) == 7
    assert ticks_when_taken[4] >= 4, "the first one had finished"
    expected = build_engine(miniature, slots=2).run(canvases(miniature, 0, 7))
    assert all(torch.equal(latents(found[key]), latents(expected[key])) for key in expected)


def test_updates_reach_canvases_whether_waiting_or_not(miniature: Bundle) -> None:
    """They keep their place behind the submission, and come back with the step that they act on, or an error."""
    driver = EngineDriver(build_engine(miniature))
    other = prompt(miniature, PROMPTS[1])
    (canvas,) = canvases(miniature, 0, 1)
    release, found = threading.Event(), dict[str, Sampled]()
    blocked = threading.Thread(target=lambda: driver.call(lambda: release.wait(60)))
    blocked.start()
    running = threading.Thread(target=lambda: found.update(driver.run([canvas])))
    running.start()
    while driver._inbox.empty():
        time.sleep(0.01)
    updated = driver.update("c0", LayerUpdate(prompt=other))
    unknown = driver.update("c9", LayerUpdate(prompt=other))
    wrong = driver.update("c0", LayerUpdate(3, prompt=other))
    release.set()
    for thread in (blocked, running):
        thread.join(120)
    assert updated.result(0) == 0
    for future, found_there in ((unknown, "no canvas of this key in the engine"), (wrong, 3)):
        error = future.exception(0)
        assert isinstance(error, CanvasError)
        assert error.found == found_there
    expected = build_engine(miniature).run([replace(canvas, prompt=other)])
    assert torch.equal(latents(found["c0"]), latents(expected["c0"]))
    driver.close()


def test_cancelled_updates_harm_nobody(miniature: Bundle) -> None:
    driver = EngineDriver(build_engine(miniature))
    release = threading.Event()
    blocked = threading.Thread(target=lambda: driver.call(lambda: release.wait(60)))
    blocked.start()
    updated = driver.update("c9", LayerUpdate(prompt=prompt(miniature, PROMPTS[1])))
    assert updated.cancel()
    release.set()
    blocked.join(60)
    assert set(driver.run(canvases(miniature, 0, 1))) == {"c0"}
    driver.close()


def test_updates_fail_with_a_dying_engine(miniature: Bundle) -> None:
    class Dying(DiffusionEngine):
        def tick(self) -> list[Finished | Failed]:
            self.update("c0", LayerUpdate(prompt=prompt(miniature, ""))).add_done_callback(left.append)
            raise RuntimeError("device lost")

    left: list[Future[int]] = []
    dying = build_engine(miniature)
    dying.__class__ = Dying
    driver = EngineDriver(dying)
    with pytest.raises(EngineError):
        driver.run(canvases(miniature, 0, 1))
    (future,) = left
    assert isinstance(future.exception(0), EngineError)
    with pytest.raises(EngineError):
        driver.update("c0", LayerUpdate())
