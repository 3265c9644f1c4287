"""The stream batch: fixed row slots, one UNet call per tick, every canvas at its own step of its own solver.

A tick admits canvases, tells the device its numbers, lets it gather rows, run control branches and the UNet, combine
rows and advance canvases, and hands out what finished. Shapes never change and the host never waits: it knows every
step index. Refuses to know how models are loaded and what latents look like as pictures.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from dentgen.diffusion.canvas import Canvas, Failed, Finished, Sampled
from dentgen.diffusion.networks import Branches, Denoiser, EngineShape
from dentgen.diffusion.slots import InFlight, SlotMap
from dentgen.diffusion.tick_numbers import TickNumbers
from dentgen.diffusion.tick_state import TickState
from dentgen.errors import CanvasError, ControlError, EngineError, OutOfMemoryError, is_device_fault, is_out_of_memory


class DiffusionEngine:
    """Samples canvases in a stream batch. Not thread-safe: one thread submits and ticks.

    Attributes:
        shape: Its fixed sizes.
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
        """Lay out the fixed buffers.

        Args:
            unet: The UNet.
            branches: Control branches.
            shape: Every size.
            device: Where the networks are.
            dtype: The networks' precision; latents and history stay float32.
            steady: Run every branch at every tick, also where it acts on no row: compiled networks want one way only.
            cuda_graph: Capture the tick at ``warm_up`` and replay it; implies ``steady``.

        Raises:
            OutOfMemoryError: If the buffers do not fit into the device's memory.
            EngineError: If there is nothing to capture a CUDA graph on.
        """
        if cuda_graph and device.type != "cuda":
            raise EngineError(f"found {device} to capture a CUDA graph on, expected a GPU")
        self.shape, self._branches, self._device = shape, branches, device
        self._steady, self._cuda_graph, self._is_captured = steady or cuda_graph, cuda_graph, False
        with self._telling_of_memory():
            self._state = TickState(unet, branches, shape, device, dtype)
        self._slots = SlotMap(shape.slots, dict.fromkeys(branches.shared, shape.control_slots))
        self._waiting: deque[Canvas] = deque()
        self._keys: set[str] = set()
        self._compute: Callable[[Collection[str]], object] = self._state.compute

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is in flight."""
        return not self._waiting and not self._slots.canvases

    @torch.no_grad()
    def warm_up(self) -> float:
        """Run one tick without canvases, so that compiling, capturing and running out of memory happen now.

        Returns:
            Seconds that it took.

        Raises:
            OutOfMemoryError: If the shape does not fit into the device's memory.
            EngineError: If a control branch fails.
        """
        began = time.perf_counter()
        with self._telling_of_memory():
            self._compute(self._branches.names)
        for name, error in self._state.broken.items():
            raise EngineError(f"control branch {name} fails: {error!r}") from error
        if self._cuda_graph and not self._is_captured:
            with self._telling_of_memory():
                replay = _captured(lambda: self._state.compute(self._branches.names))
            self._compute, self._is_captured = lambda _: replay(), True
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter() - began

    def submit(self, canvas: Canvas) -> None:
        """Queue a canvas; it is admitted, in order, as soon as all its rows find slots.

        Raises:
            CanvasError: If the canvas contradicts itself or can never fit; nothing else is affected.
        """
        self._check(canvas)
        self._keys.add(canvas.key)
        self._waiting.append(canvas)

    @torch.no_grad()
    def tick(self) -> list[Finished | Failed]:
        """Advance every canvas in flight by one step; returns those that left.

        Raises:
            OutOfMemoryError: If the device has no memory left; the engine cannot go on.
        """
        failed = self._admit()
        flights = self._slots.flights()
        if not flights:
            return failed
        self._state.numbers.fill(TickNumbers.of(flights, self.shape, self._branches))
        with self._telling_of_memory():
            self._compute(self._acting(flights))
        return failed + [left for flight in flights if (left := self._leave(flight))]

    def drain(self) -> list[Finished | Failed]:
        """Tick until nothing is left; returns everything that left."""
        left: list[Finished | Failed] = []
        while not self.idle:
            left += self.tick()
        return left

    def run(self, canvases: Iterable[Canvas]) -> dict[str, Sampled]:
        """Sample canvases and return clean latents (4, h, w), or an error, by key: as many as were given."""
        results: dict[str, Sampled] = {}
        for canvas in canvases:
            try:
                self.submit(canvas)
            except CanvasError as error:
                results[canvas.key] = error
        for left in self.drain():
            results[left.key] = left.latents if isinstance(left, Finished) else left.error
        return results

    def _admit(self) -> list[Finished | Failed]:
        """Place canvases as long as the next one fits; returns those that could not be placed."""
        failed: list[Finished | Failed] = []
        while self._waiting and (flight := self._slots.try_admit(self._waiting[0])):
            canvas = self._waiting.popleft()
            try:
                self._state.place(flight)
            except Exception as error:
                if is_device_fault(error):
                    raise
                self._slots.release(flight)
                self._keys.remove(canvas.key)
                failed.append(Failed(canvas.key, CanvasError(f"{canvas.key}: cannot be placed: {error!r}")))
        return failed

    @contextmanager
    def _telling_of_memory(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            raise OutOfMemoryError(f"{self.shape.slots} slots do not fit into the memory of {self._device}") from error

    def _acting(self, flights: list[InFlight]) -> Collection[str]:
        """Branches that act on some row in this tick."""
        if self._steady:
            return self._branches.names
        return {branch for flight in flights for branch in _acting_on(flight)}

    def _leave(self, flight: InFlight) -> Finished | Failed | None:
        """Move a canvas on; what leaves the engine, if it finished or one of its controls broke."""
        key = flight.canvas.key
        broken = [branch for branch in _acting_on(flight) if branch in self._state.broken]
        if not broken:
            self._slots.advance(flight)
        if not broken and not flight.done:
            return None
        self._slots.release(flight)
        self._keys.remove(key)
        if not broken:
            return Finished(key, self._state.latents[flight.slot].clone())
        error = ControlError(f"{key}: control branch {broken[0]} failed: {self._state.broken[broken[0]]!r}")
        return Failed(key, error)

    def _check(self, canvas: Canvas) -> None:
        canvas.check()
        self._check_places(canvas)
        for what, values, expected in self._shapes(canvas):
            if values is not None and tuple(values.shape) != expected:
                raise CanvasError(f"{canvas.key}: {what} are {tuple(values.shape)}, expected {expected}")
        if bool(self.shape.mask_channels) != (canvas.repaint is not None and canvas.repaint.masked is not None):
            told = "wants" if self.shape.mask_channels else "takes no"
            raise CanvasError(f"{canvas.key}: the UNet {told} mask and masked picture as further channels")

    def _shapes(self, canvas: Canvas) -> Iterator[tuple[str, Tensor | None, tuple[int, ...]]]:
        """Every tensor of a canvas, and the shape that it must have."""
        shape, latent, per_row = self.shape, self.shape.latent, self._branches.per_row
        for row in canvas.rows(0):
            yield "prompt embeddings", row.prompt.values, (shape.tokens, shape.width)
        for control in canvas.controls:
            expected = per_row[control.branch].hint_shape if control.branch in per_row else latent
            yield f"values of the condition of {control.branch}", control.condition.values, expected
        yield "image latents", canvas.image, latent
        if canvas.repaint is not None:
            yield "kept latents", canvas.repaint.keep, latent[1:]
            yield "masked latents", canvas.repaint.masked, latent

    def _check_places(self, canvas: Canvas) -> None:
        key, shape, rows = canvas.key, self.shape, canvas.rows(0)
        if key in self._keys:
            raise CanvasError(f"{key}: a canvas of this key is in the engine already")
        for control in canvas.controls:
            if control.branch not in self._branches.names:
                raise CanvasError(f"{key}: found no control branch {control.branch}, it has {self._branches.names}")
        controls = len({row.prompt.name for row in rows}) if canvas.controls else 0
        if len(rows) > shape.slots or controls > shape.control_slots:
            raise CanvasError(
                f"{key}: needs {len(rows)} rows and {controls} control inputs, "
                f"the engine has {shape.slots} slots and {shape.control_slots} control slots"
            )
        if canvas.table.num_columns > shape.columns:
            raise CanvasError(
                f"{key}: {canvas.table.name} keeps {canvas.table.num_columns} latents, "
                f"the engine was laid out for {shape.columns}"
            )


def _acting_on(flight: InFlight) -> list[str]:
    """Control branches that act on a canvas in its next tick."""
    canvas, steps = flight.canvas, flight.canvas.table.num_steps
    return [control.branch for control in canvas.controls if control.scale_at(flight.step, steps)]


def _captured(work: Callable[[], object]) -> Callable[[], None]:
    """Work as a CUDA graph, after the warm-up that capturing wants."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # other threads embed prompts meanwhile
        work()
    replay: Callable[[], None] = graph.replay
    return replay
