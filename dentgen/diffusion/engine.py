"""The engine: continuous batching of canvases in fixed row slots, each at its own step of its own solver.

Shapes never change and the host never waits for the device within a tick, because it knows every step index.
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
    """Samples canvases in a continuous batch. Not thread-safe: one thread submits and ticks.

    Attributes:
        shape: The fixed sizes.
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
        self._slots = SlotMap(shape.slots, dict.fromkeys(branches.shared, shape.control_slots))
        self._waiting: deque[Canvas] = deque()
        self._keys: set[str] = set()
        self._compute: Callable[[Collection[str]], object] = self._state.compute

    @property
    def idle(self) -> bool:
        """Whether no canvas is waiting or in flight."""
        return not self._waiting and not self._slots.canvases

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
        self._check(canvas)
        self._keys.add(canvas.key)
        self._waiting.append(canvas)

    @torch.no_grad()
    def tick(self) -> list[Finished | Failed]:
        """Advance every canvas in flight by one step and return those that finished or failed.

        Raises:
            OutOfMemoryError: If the device runs out of memory; the engine cannot be used afterwards.
        """
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
        """Sample canvases; returns clean latents (4, h, w) or an error for every canvas, by key."""
        results: dict[str, Sampled] = {}
        for canvas in canvases:
            try:
                self.submit(canvas)
            except CanvasError as error:
                results[canvas.key] = error
        for outcome in self.drain():
            results[outcome.key] = outcome.latents if isinstance(outcome, Finished) else outcome.error
        return results

    def _admit(self) -> list[Finished | Failed]:
        """Admit waiting canvases while the next one fits; returns those whose data could not be placed."""
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

    def _check(self, canvas: Canvas) -> None:
        canvas.check()
        self._check_slots(canvas)
        for name, values, expected in self._shapes(canvas):
            if values is not None and tuple(values.shape) != expected:
                raise CanvasError(name, key=canvas.key, found=f"shape {tuple(values.shape)}", expected=expected)
        self._check_room(canvas)
        if not self.shape.weighted and any(control.where is not None for control in canvas.controls):
            raise CanvasError(key=canvas.key, found="scales by place", expected="an engine with weighted control")
        has_masked = canvas.repaint is not None and canvas.repaint.masked is not None
        if bool(self.shape.mask_channels) != has_masked:
            found = "masked latents" if has_masked else "no masked latents"
            expected_by_unet = f"what a UNet of {self.shape.channels + self.shape.mask_channels} input channels takes"
            raise CanvasError("repaint", key=canvas.key, found=found, expected=expected_by_unet)

    def _check_room(self, canvas: Canvas) -> None:
        """Reject regions and windows that the engine has no buffers for."""
        shape, most = self.shape, self.shape.regions
        if len(canvas.layers.regions) > most:
            found = len(canvas.layers.regions)
            raise CanvasError(
                "regions", key=canvas.key, found=found, expected=f"at most {most}, as the engine has room"
            )
        windowed = shape.row_size != shape.latent_size
        if len(canvas.windows) > (shape.windows if windowed else 0) or (windowed and not canvas.windows):
            expected = f"1 to {shape.windows}" if windowed else "none: rows see whole canvases"
            raise CanvasError("windows", key=canvas.key, found=len(canvas.windows), expected=expected)

    def _shapes(self, canvas: Canvas) -> Iterator[tuple[str, Tensor | None, tuple[int, ...]]]:
        """Name, values and required shape of every tensor of a canvas."""
        shape, latent, per_row = self.shape, self.shape.latent, self._branches.per_row
        for row in canvas.rows(0):
            yield "prompt embeddings", row.prompt.values, (shape.tokens, shape.width)
        for control in canvas.controls:
            expected = per_row[control.branch].hint_shape if control.branch in per_row else latent
            yield f"condition of {control.branch}", control.condition.values, expected
            yield f"places of {control.branch}", control.where, latent[1:]
        yield "image latents", canvas.image, latent
        for window in canvas.windows:
            yield "weights of a window", window.weight, shape.row_size
            yield "a window", window.crop(torch.empty(latent[1:], device="meta")), shape.row_size
        for region in canvas.layers.regions:
            yield "mask of a region", region.mask, latent[1:]
        if canvas.layers.bootstrap is not None:
            yield "white latents", canvas.layers.bootstrap.white, latent
        if canvas.repaint is not None:
            yield "kept latents", canvas.repaint.keep, latent[1:]
            yield "masked latents", canvas.repaint.masked, latent

    def _check_slots(self, canvas: Canvas) -> None:
        """Reject a canvas that can never be admitted, as it would block the queue for ever."""
        key, shape, rows = canvas.key, self.shape, canvas.rows(0)
        if key in self._keys:
            raise CanvasError(key=key, found="a canvas of this key in the engine", expected="unique keys")
        for control in canvas.controls:
            if control.branch not in self._branches.names:
                expected = f"one of {list(self._branches.names)}"
                raise CanvasError(key=key, found=f"control branch {control.branch}", expected=expected)
        uses_shared = any(control.branch in self._branches.shared for control in canvas.controls)
        controls = len({(row.window, row.prompt.name) for row in rows}) if uses_shared else 0
        needs = (("row slots", len(rows), shape.slots), ("control slots", controls, shape.control_slots),
                 ("history columns", canvas.table.num_columns, shape.columns))  # fmt: skip
        for name, needed, available in needs:
            if needed > available:
                raise CanvasError(f"needed {name}", key=key, found=needed, expected=f"at most {available}")


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
