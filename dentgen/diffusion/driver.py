"""A thread that owns an engine and its device, so that several callers share one continuous batch.

A call blocks its own caller only: reading and encoding on other threads overlap with the ticks.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from dentgen.diffusion.canvas import Canvas, Finished, Sampled
from dentgen.diffusion.engine import DiffusionEngine
from dentgen.diffusion.layer_update import LayerUpdate
from dentgen.errors import CanvasError, EngineError

Result = TypeVar("Result")

#: Canvases of one ``run`` that are submitted and not finished, as a multiple of the slots: one batch in flight and one
#: that waits for it.
_BATCHES_SUBMITTED: Final = 2
#: Waits that are kept for whoever asks; nobody need ask.
_KEPT_WAITS: Final = 4096


@dataclass(frozen=True, slots=True, eq=False)
class _Submission:
    canvas: Canvas
    future: Future[Sampled]
    began: float


@dataclass(frozen=True, slots=True, eq=False)
class _Work:
    work: Callable[[], Any]
    future: Future[Any]


@dataclass(frozen=True, slots=True, eq=False)
class _Update:
    key: str
    update: LayerUpdate
    future: Future[int]


_Item = _Submission | _Work | _Update


class EngineDriver:
    """Runs an engine's ticks in its own thread.

    Attributes:
        busy_seconds: Total time spent in ticks and other work.
        ticks: Number of ticks so far.
        longest_tick: Duration of the longest tick or other work, seconds.
        between_ticks: Seconds from the start of the first tick to the end of the last one, and how many of them it was
            busy.
    """

    def __init__(self, engine: DiffusionEngine) -> None:
        """Start the thread."""
        self._engine = engine
        self._inbox: queue.Queue[_Item | None] = queue.Queue()
        self._waiting: dict[str, Future[Sampled]] = {}
        self._began: dict[str, float] = {}
        self._waits: deque[float] = deque(maxlen=_KEPT_WAITS)
        self._lock = threading.Lock()
        self._death: BaseException | None = None
        self._is_closed = False
        self.busy_seconds, self.ticks, self.longest_tick = 0.0, 0, 0.0
        self.between_ticks = (0.0, 0.0)
        self._tick_began: float | None = None
        self._first_tick: tuple[float, float] | None = None
        self._thread = threading.Thread(target=self._loop, name="dentgen-engine", daemon=True)
        self._thread.start()

    def run(self, canvases: Iterable[Canvas], began: float | None = None) -> dict[str, Sampled]:
        """Sample canvases and wait for the results; safe to call from several threads.

        Canvases are taken from the iterable on the caller's thread, two batches of slots at most before they are
        finished, so they may still be in preparation.

        Args:
            canvases: Canvases of distinct keys.
            began: Since when they have been waiting, by ``time.perf_counter``; None: since each was taken.

        Returns:
            Clean latents (4, h, w) or an error for every canvas, by key.

        Raises:
            EngineError: If the engine dies or has died, or the driver is closed.
        """
        submissions: list[_Submission] = []
        most = _BATCHES_SUBMITTED * self._engine.shape.slots
        for canvas in canvases:
            since = time.perf_counter() if began is None else began
            submissions.append(_Submission(canvas, Future(), since))
            self._put(submissions[-1])
            if len(submissions) >= most:
                submissions[-most].future.result()
        return {submission.canvas.key: submission.future.result() for submission in submissions}

    def update(self, key: str, update: LayerUpdate) -> Future[int]:
        """Change a layer of a canvas that was submitted; returns at once, as ``DiffusionEngine.update`` does.

        Args:
            key: The canvas's key.
            update: The new values.

        Returns:
            The first step that they act on, or the error that kept them out.

        Raises:
            EngineError: If the engine has died, or the driver is closed.
        """
        item = _Update(key, update, Future())
        self._put(item)
        return item.future

    def call(self, work: Callable[[], Result]) -> Result:
        """Run ``work`` on the engine's thread between two ticks and return its result.

        An exception of ``work`` is raised here and does not stop the engine.

        Raises:
            EngineError: If the engine dies or has died, or the driver is closed.
        """
        future: Future[Any] = Future()
        self._put(_Work(work, future))
        result: Result = future.result()
        return result

    @property
    def dead(self) -> bool:
        """Whether the engine died. A dead engine never recovers: replace the driver."""
        return self._death is not None

    @property
    def slots_in_use(self) -> int:
        """Row slots of the engine that are occupied now."""
        return self._engine.slots_in_use

    def take_waits(self) -> list[float]:
        """Seconds that canvases waited for slots: those that were admitted since the last call, at most 4096."""
        return [self._waits.popleft() for _ in range(len(self._waits))]

    @property
    def tick_seconds(self) -> float:
        """Age of the tick or other work in progress, seconds; 0 if there is none."""
        began = self._tick_began
        return 0.0 if began is None else time.perf_counter() - began

    def close(self) -> None:
        """Finish what was submitted and stop the thread; later calls of ``run`` and ``call`` raise ``EngineError``."""
        with self._lock:
            self._is_closed = True
            self._inbox.put(None)
        self._thread.join()

    def _put(self, item: _Item) -> None:
        with self._lock:
            if self._death is not None:
                raise EngineError(f"the engine has died: {self._death!r}") from self._death
            if self._is_closed:
                raise EngineError("the engine driver is closed")
            self._inbox.put(item)

    def _loop(self) -> None:
        try:
            while self._take():
                self._tick_began = time.perf_counter()
                outcomes = self._engine.tick()
                self._waits.extend(self._tick_began - self._began.pop(key) for key in self._engine.admitted)
                self._count_tick(time.perf_counter() - self._tick_began)
                for outcome in outcomes:
                    result = outcome.latents if isinstance(outcome, Finished) else outcome.error
                    self._waiting.pop(outcome.key).set_result(result)
        except BaseException as error:  # noqa: BLE001 - any error that kills the engine must reach the waiting callers
            self._die(error)

    def _count_tick(self, seconds: float) -> None:
        now = time.perf_counter()
        if self._first_tick is None:
            self._first_tick = now - seconds, self.busy_seconds
        self._count(seconds)
        first, busy_before = self._first_tick
        self.between_ticks = now - first, self.busy_seconds - busy_before
        self.ticks += 1

    def _count(self, seconds: float) -> None:
        self._tick_began = None
        self.busy_seconds += seconds
        self.longest_tick = max(self.longest_tick, seconds)

    def _take(self) -> bool:
        """Take everything from the inbox; block while the engine is idle. False once closed and idle."""
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
                    self._run_work(item)
                case _Update():
                    self._pass_on(item)
                case _Submission():
                    self._admit(item)

    def _run_work(self, work: _Work) -> None:
        self._tick_began = time.perf_counter()
        try:
            work.future.set_result(work.work())
        except Exception as error:  # noqa: BLE001 - raised in the caller's thread
            work.future.set_exception(error)
        self._count(time.perf_counter() - self._tick_began)

    def _pass_on(self, item: _Update) -> None:
        if not item.future.set_running_or_notify_cancel():
            return
        try:
            applied = self._engine.update(item.key, item.update)
        except CanvasError as error:
            item.future.set_exception(error)
        else:
            applied.add_done_callback(lambda done: _copy_outcome(done, item.future))

    def _admit(self, submission: _Submission) -> None:
        try:
            self._engine.submit(submission.canvas)
        except CanvasError as error:
            submission.future.set_result(error)
        except BaseException as error:
            submission.future.set_exception(error)  # not in _waiting yet, so _die would not reach it
            raise
        else:
            self._waiting[submission.canvas.key] = submission.future
            self._began[submission.canvas.key] = submission.began

    def _die(self, error: BaseException) -> None:
        with self._lock:
            self._death = error
        failure = EngineError(f"the engine died: {error!r}")
        failure.__cause__ = error
        self._engine.fail_updates(failure)
        for future in self._waiting.values():
            future.set_exception(failure)
        while not self._inbox.empty():
            item = self._inbox.get_nowait()
            if item is not None and item.future.set_running_or_notify_cancel():
                item.future.set_exception(failure)


def _copy_outcome(done: Future[int], to: Future[int]) -> None:
    error = done.exception()
    if error is None:
        to.set_result(done.result())
    else:
        to.set_exception(error)
