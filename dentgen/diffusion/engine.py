"""The engine: continuous batching of canvases in fixed row slots, each at its own step of its own solver.

Shapes never change and the host never waits for the device within a tick, because it knows every step index.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager

import torch

from dentgen.diffusion.canvas import Canvas, Failed, Finished, Sampled
from dentgen.diffusion.canvas_checks import check_canvas, check_changed
from dentgen.diffusion.layer_update import LayerUpdate, PendingUpdate, UpdateQueue
from dentgen.diffusion.networks import Branches, Denoiser, EngineShape
from dentgen.diffusion.slots import InFlight, SlotMap
from dentgen.diffusion.tick_numbers import TickNumbers
from dentgen.diffusion.tick_state import TickState
from dentgen.errors import CanvasError, ControlError, EngineError, OutOfMemoryError, is_device_fault, is_out_of_memory


class DiffusionEngine:
    """Samples canvases in a continuous batch. One thread submits and ticks; any thread may update what is in it.

    Attributes:
        shape: The fixed sizes.
        admitted: Keys of the canvases that found slots in the last tick.
    """

    def __init__(
        self,
        unet: Denoiser,
        branches: Branches,
        shape: EngineShape,
        device: torch.device,
        dtype: torch.dtype,
        *,
        steady: bool = False,
        cuda_graph: bool = False,
    ) -> None:
        """Allocate the fixed buffers.

        Args:
            unet: The UNet.
            branches: Control branches.
            shape: Fixed sizes of all buffers and batches.
            device: Device of the networks.
            dtype: Precision of the networks; latents and history stay float32.
            steady: Run every branch at every tick, even where it acts on no row, so that compiled networks and CUDA
                graphs see one control flow.
            cuda_graph: Capture the tick in ``warm_up`` and replay it; implies ``steady``.

        Raises:
            OutOfMemoryError: If the buffers do not fit into the device's memory.
            EngineError: If ``cuda_graph`` is set and the device is not a CUDA GPU.
        """
        if cuda_graph and device.type != "cuda":
            raise EngineError(key="cuda_graph", found=f"device {device}", expected="a CUDA GPU")
        self.shape, self._branches, self._device = shape, branches, device
        self._steady, self._cuda_graph, self._is_captured = steady or cuda_graph, cuda_graph, False
        with self._memory_errors():
            self._state = TickState(unet, branches, shape, device, dtype)
        self._slots = SlotMap(shape.slots, dict.fromkeys(branches.shared, shape.control_slots), shape.canvases)
        self._waiting: deque[Canvas] = deque()
        self._keys: set[str] = set()
        self._updates = UpdateQueue()
        self.admitted: list[str] = []
        self._compute: Callable[[Collection[str]], object] = self._state.compute

    @property
    def idle(self) -> bool:
        """Whether no canvas is waiting or in flight."""
        return not self._waiting and not self._slots.canvases

    @property
    def waiting(self) -> int:
        """Number of canvases that wait for slots; with as many as there are slots, no tick could admit more."""
        return len(self._waiting)

    @property
    def slots_in_use(self) -> int:
        """Row slots that are occupied now; another thread may ask."""
        return self._slots.rows_in_use

    @torch.no_grad()
    def warm_up(self) -> float:
        """Run one tick without canvases, so that compilation, graph capture and out-of-memory errors happen now.

        Returns:
            Duration, seconds.

        Raises:
            OutOfMemoryError: If the shape does not fit into the device's memory.
            EngineError: If a control branch fails.
        """
        began = time.perf_counter()
        with self._memory_errors():
            self._compute(self._branches.names)
        for name, error in self._state.broken.items():
            raise EngineError(f"failed: {error!r}", key=f"control branch {name}") from error
        if self._cuda_graph and not self._is_captured:
            with self._memory_errors():
                replay = _captured(lambda: self._state.compute(self._branches.names))
            self._compute, self._is_captured = lambda _: replay(), True
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter() - began

    def submit(self, canvas: Canvas) -> None:
        """Queue a canvas. Canvases are admitted in order of submission, each when all its rows find free slots.

        Raises:
            CanvasError: If the canvas is inconsistent or can never fit; other canvases are not affected.
        """
        if canvas.key in self._keys:
            raise CanvasError(key=canvas.key, found="a canvas of this key in the engine", expected="unique keys")
        check_canvas(canvas, self.shape, self._branches)
        self._keys.add(canvas.key)
        self._waiting.append(canvas)

    def update(self, key: str, update: LayerUpdate) -> Future[int]:
        """Change a layer, or the control, of a canvas that is waiting or in flight; safe to call from any thread.

        The values act from the next tick on, all of them together, and updates are applied in the order of the calls.
        Neither slots nor shapes change, so nothing is flushed or compiled. Other canvases keep their bits.

        Args:
            key: The canvas's key.
            update: The new values.

        Returns:
            The first step that they act on. A ``CanvasError`` in its place if the canvas left the engine before the
            next tick, a value is not usable, or no control slot is free for what is new; the canvas then goes on
            as it was.

        Raises:
            CanvasError: If there is no such canvas.
        """
        if key not in self._keys:
            raise _no_canvas(key)
        pending = PendingUpdate(key, update)
        self._updates.put(pending)
        return pending.applied

    def fail_updates(self, error: Exception) -> None:
        """Let updates that wait for a tick fail, because there will be none."""
        self._updates.fail(error)

    @torch.no_grad()
    def tick(self) -> list[Finished | Failed]:
        """Advance every canvas in flight by one step and return those that finished or failed.

        Raises:
            OutOfMemoryError: If the device runs out of memory; the engine cannot be used afterwards.
        """
        self._apply_updates()
        self.admitted.clear()
        failed = self._admit()
        flights = self._slots.flights()
        if not flights:
            return failed
        self._state.numbers.fill(TickNumbers.of(flights, self.shape, self._branches))
        with self._memory_errors():
            self._compute(self._active_branches(flights))
        return failed + [outcome for flight in flights if (outcome := self._advance(flight))]

    def drain(self) -> list[Finished | Failed]:
        """Tick until the engine is idle and return every canvas that finished or failed."""
        outcomes: list[Finished | Failed] = []
        while not self.idle:
            outcomes += self.tick()
        return outcomes

    def run(self, canvases: Iterable[Canvas]) -> dict[str, Sampled]:
        """Sample canvases; returns clean latents (4, h, w) or an error for every canvas, by key.

        Canvases are taken from the iterable as there is room for them, at most as many as there are slots ahead of
        their admission, so they may still be in preparation. They get the slots that a list of them would get. If the
        iterable raises, what was taken is sampled to its end, so that nothing of it stays in the engine.
        """
        results: dict[str, Sampled] = {}
        remaining = iter(canvases)
        while self._queue_up(remaining, results) or not self.idle:
            for outcome in self.tick():
                results[outcome.key] = outcome.latents if isinstance(outcome, Finished) else outcome.error
        return results

    def _queue_up(self, canvases: Iterator[Canvas], results: dict[str, Sampled]) -> bool:
        """Queue canvases until no tick could admit more; False once there are none left."""
        while self.waiting < self.shape.slots:
            try:
                canvas = next(canvases, None)
            except Exception:
                self.drain()
                raise
            if canvas is None:
                return False
            try:
                self.submit(canvas)
            except CanvasError as error:
                results[canvas.key] = error
        return True

    def _apply_updates(self) -> None:
        for pending in self._updates.take():
            try:
                step = self._apply(pending.key, pending.update)
            except Exception as error:
                pending.applied.set_exception(error)
                if is_device_fault(error):
                    raise
            else:
                pending.applied.set_result(step)

    def _apply(self, key: str, update: LayerUpdate) -> int:
        """Change a canvas; returns the first step that sees it."""
        for number, canvas in enumerate(self._waiting):
            if canvas.key == key:
                changed = update.applied(canvas)
                check_changed(changed, self.shape, self._branches, 0)
                self._waiting[number] = changed
                return 0
        flight = next((flight for flight in self._slots.flights() if flight.canvas.key == key), None)
        if flight is None:
            raise _no_canvas(key)
        changed = update.applied(flight.canvas)
        check_changed(changed, self.shape, self._branches, flight.step)
        if not self._slots.change(flight, changed):
            found = f"none of {self.shape.control_slots} free"
            raise CanvasError("control slots", key=key, found=found, expected="one for what is new")
        self._state.update(flight)
        return flight.step

    def _admit(self) -> list[Finished | Failed]:
        """Admit waiting canvases while the next one fits; returns those whose data could not be placed."""
        failed: list[Finished | Failed] = []
        while self._waiting and (flight := self._slots.try_admit(self._waiting[0])):
            canvas = self._waiting.popleft()
            self.admitted.append(canvas.key)
            try:
                self._state.place(flight)
            except Exception as error:
                if is_device_fault(error):
                    raise
                self._slots.release(flight)
                self._keys.remove(canvas.key)
                failed.append(Failed(canvas.key, CanvasError(f"cannot be placed: {error!r}", key=canvas.key)))
        return failed

    @contextmanager
    def _memory_errors(self) -> Iterator[None]:
        """Turn out-of-memory errors into ``OutOfMemoryError`` with the number of slots."""
        try:
            yield
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            raise OutOfMemoryError(f"{self.shape.slots} slots do not fit into the memory of {self._device}") from error

    def _active_branches(self, flights: list[InFlight]) -> Collection[str]:
        """Branches to run in this tick."""
        if self._steady:
            return self._branches.names
        return {branch for flight in flights for branch in _active_controls(flight)}

    def _advance(self, flight: InFlight) -> Finished | Failed | None:
        """Move a canvas to its next step; returns its outcome if it finished or one of its control branches failed."""
        key = flight.canvas.key
        broken = [branch for branch in _active_controls(flight) if branch in self._state.broken]
        if not broken:
            self._slots.advance(flight)
        if not broken and not flight.done:
            return None
        self._slots.release(flight)
        self._keys.remove(key)
        if not broken:
            return Finished(key, self._state.latents[flight.slot].clone())
        error = self._state.broken[broken[0]]
        return Failed(key, ControlError(f"control branch {broken[0]} failed: {error!r}", key=key))


def _no_canvas(key: str) -> CanvasError:
    expected = "a canvas that is waiting or in flight"
    return CanvasError("update", key=key, found="no canvas of this key in the engine", expected=expected)


def _active_controls(flight: InFlight) -> list[str]:
    """Control branches that act on a canvas in its next tick."""
    canvas, steps = flight.canvas, flight.canvas.table.num_steps
    return [control.branch for control in canvas.controls if control.scale_at(flight.step, steps)]


def _captured(work: Callable[[], object]) -> Callable[[], None]:
    """Capture ``work`` as a CUDA graph, after the warm-up that capture requires, and return its replay."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # other threads may use the device
        work()
    replay: Callable[[], None] = graph.replay
    return replay
