"""A thread that owns an engine and its device, so that several units feed one engine and none drains it for another.

Callers submit canvases, or work of their own for the same device, and wait for it; what they do meanwhile (reading,
encoding files) overlaps with the ticks. An engine that dies fails everyone who waits, at once, and everyone who comes
later. Refuses to know units and Ray.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from dentgen.diffusion.canvas import Canvas, Finished, Sampled
from dentgen.diffusion.engine import DiffusionEngine
from dentgen.errors import CanvasError, EngineError

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, eq=False)
class _Submission:
    canvas: Canvas
    future: Future[Sampled]


@dataclass(frozen=True, slots=True, eq=False)
class _Work:
    work: Callable[[], Any]
    future: Future[Any]


class EngineDriver:
    """Runs an engine's ticks in its own thread.

    Attributes:
        busy_seconds: Time spent in ticks and other work so far.
        ticks: How many there were.
        longest_tick: The longest of them, or of other work, seconds.
    """

    def __init__(self, engine: DiffusionEngine) -> None:
        """Start the thread."""
        self._engine = engine
        self._inbox: queue.Queue[_Submission | _Work | None] = queue.Queue()
        self._waiting: dict[str, Future[Sampled]] = {}
        self._lock = threading.Lock()
        self._death: BaseException | None = None
        self.busy_seconds, self.ticks, self.longest_tick = 0.0, 0, 0.0
        self._tick_began: float | None = None
        self._thread = threading.Thread(target=self._loop, name="dentgen-engine", daemon=True)
        self._thread.start()

    def run(self, canvases: Sequence[Canvas]) -> dict[str, Sampled]:
        """Sample canvases and wait for them; safe to call from several threads.

        Returns:
            Clean latents (4, h, w), or why there are none, by key: as many as were given.

        Raises:
            EngineError: If the engine is dead.
        """
        submissions = [_Submission(canvas, Future()) for canvas in canvases]
        for submission in submissions:
            self._put(submission)
        return {submission.canvas.key: submission.future.result() for submission in submissions}

    def call(self, work: Callable[[], Result]) -> Result:
        """Do other work of the device between two ticks and wait for it; what it raises is raised here alone.

        Raises:
            EngineError: If the engine is dead.
        """
        future: Future[Any] = Future()
        self._put(_Work(work, future))
        result: Result = future.result()
        return result

    @property
    def dead(self) -> bool:
        """Whether the engine died; it never comes back, another driver can take its place."""
        return self._death is not None

    @property
    def tick_seconds(self) -> float:
        """How long the tick or other work in progress has lasted; 0 between them."""
        began = self._tick_began
        return 0.0 if began is None else time.perf_counter() - began

    def close(self) -> None:
        """Stop the thread after what was submitted."""
        self._inbox.put(None)
        self._thread.join()

    def _put(self, item: _Submission | _Work) -> None:
        with self._lock:
            if self._death is not None:
                raise EngineError(f"the engine died before: {self._death!r}") from self._death
            self._inbox.put(item)

    def _loop(self) -> None:
        try:
            while self._take():
                self._tick_began = time.perf_counter()
                finished = self._engine.tick()
                self._count(time.perf_counter() - self._tick_began)
                self.ticks += 1
                for left in finished:
                    result = left.latents if isinstance(left, Finished) else left.error
                    self._waiting.pop(left.key).set_result(result)
        except BaseException as error:  # noqa: BLE001 - whatever kills the engine must reach those who wait for it
            self._die(error)

    def _count(self, seconds: float) -> None:
        self._tick_began = None
        self.busy_seconds += seconds
        self.longest_tick = max(self.longest_tick, seconds)

    def _take(self) -> bool:
        """Take what was submitted; wait for something if the engine is idle. False when closed and idle."""
        while True:
            try:
                item = self._inbox.get(block=self._engine.idle)
            except queue.Empty:
                return True
            match item:
                case None:
                    self._inbox.put(None)
                    return not self._engine.idle
                case _Work():
                    self._do(item)
                case _Submission():
                    self._admit(item)

    def _do(self, work: _Work) -> None:
        self._tick_began = time.perf_counter()
        try:
            work.future.set_result(work.work())
        except Exception as error:  # noqa: BLE001 - it belongs to who asked for the work
            work.future.set_exception(error)
        self._count(time.perf_counter() - self._tick_began)

    def _admit(self, submission: _Submission) -> None:
        try:
            self._engine.submit(submission.canvas)
        except CanvasError as error:
            submission.future.set_result(error)
        except BaseException as error:
            submission.future.set_exception(error)  # it waits nowhere yet, so nobody else would tell it
            raise
        else:
            self._waiting[submission.canvas.key] = submission.future

    def _die(self, error: BaseException) -> None:
        with self._lock:
            self._death = error
        failure = EngineError(f"the engine died: {error!r}")
        failure.__cause__ = error
        for future in self._waiting.values():
            future.set_exception(failure)
        while not self._inbox.empty():
            item = self._inbox.get_nowait()
            if item is not None:
                item.future.set_exception(failure)
