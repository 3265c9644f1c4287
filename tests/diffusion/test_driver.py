"""The engine's thread: shared by several callers, loud when it dies."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
import torch

from dentgen.diffusion.canvas import Canvas, Failed, Finished, Sampled
from dentgen.diffusion.driver import EngineDriver
from dentgen.diffusion.engine import DiffusionEngine
from dentgen.diffusion.guidance import Guidance
from dentgen.errors import CanvasError, EngineError
from dentgen.models.bundle import Bundle
from tests.diffusion.parts import build_engine, latents, prompt, simple, table_of


def canvases(bundle: Bundle, first: int, count: int) -> list[Canvas]:
    table = table_of(bundle, "unipc", 4)
    return [simple(bundle, n, n % 2, table) for n in range(first, first + count)]


def test_two_callers_share_one_engine_and_get_their_own(miniature: Bundle) -> None:
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
    assert driver.busy_seconds > 0


def test_a_refused_canvas_fails_alone(miniature: Bundle) -> None:
    driver = EngineDriver(build_engine(miniature, slots=1, control_slots=1))
    good = canvases(miniature, 0, 1)[0]
    too_big = replace(good, key="big", guidance=Guidance(2.0, "full", prompt(miniature, "")))
    found = driver.run([too_big, good])
    assert isinstance(found["big"], CanvasError)
    assert "big: needs 2 rows" in str(found["big"])
    assert isinstance(found["c0"], torch.Tensor)
    driver.close()


def test_a_dead_engine_fails_everyone_at_once(miniature: Bundle) -> None:
    class Dying(DiffusionEngine):
        def tick(self) -> list[Finished | Failed]:
            raise RuntimeError("device lost")

    dying = build_engine(miniature)
    dying.__class__ = Dying
    driver = EngineDriver(dying)
    with pytest.raises(EngineError, match="device lost"):
        driver.run(canvases(miniature, 0, 3))
    with pytest.raises(EngineError, match="died before"):
        driver.run(canvases(miniature, 0, 1))


def test_other_work_of_the_device_is_done_by_the_same_thread(miniature: Bundle) -> None:
    driver = EngineDriver(build_engine(miniature))
    threads = [driver.call(threading.get_ident) for _ in range(3)]
    assert len(set(threads)) == 1
    assert threads[0] != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        driver.call(lambda: 1 // 0)
    assert not driver.dead, "what fails there is its caller's alone"
    driver.close()
