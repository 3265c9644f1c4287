"""The stream batch: fixed row slots, one UNet call per tick, every canvas at its own step of its own solver.

A tick gathers rows from canvases, runs the control net on its own smaller batch, runs the UNet, combines rows into each
canvas's prediction and advances canvases by their solver tables. Shapes never change and the host never waits: it
knows every step index. Refuses to know how models are loaded and what latents look like as pictures.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from dentgen.diffusion.canvas import Canvas, Finished
from dentgen.diffusion.slots import InFlight, SlotMap
from dentgen.errors import EngineError


@runtime_checkable
class Denoiser(Protocol):
    """A UNet as the engine calls it."""

    def __call__(
        self,
        latents: Float[Tensor, "row 4 h w"],
        timesteps: Float[Tensor, " row"],
        prompt_embeds: Float[Tensor, "row tokens width"],
        residuals: Sequence[Tensor] | None,
    ) -> Float[Tensor, "row 4 h w"]:
        """Predicted noise."""


@runtime_checkable
class Control(Protocol):
    """A control branch that never sees the noisy latents."""

    def __call__(
        self,
        condition_latents: Float[Tensor, "control 4 h w"],
        timesteps: Float[Tensor, " control"],
        prompt_embeds: Float[Tensor, "control tokens width"],
    ) -> Sequence[Tensor]:
        """Residuals, one tensor per skip connection, the middle block's last."""


@dataclass(frozen=True, slots=True)
class EngineShape:
    """Every size that decides the bits of a result.

    Attributes:
        slots: UNet rows per tick.
        control_slots: Control net rows per tick; a canvas waits while its control input finds none.
        latent_size: Edge of the latents.
        tokens, width: Shape of prompt embeddings.
        columns: Latents kept per canvas; at least the largest ``SolverTable.num_columns``.
        channels: Latent channels.
    """

    slots: int
    control_slots: int
    latent_size: int
    tokens: int
    width: int
    columns: int
    channels: int = 4


class DiffusionEngine:
    """Samples canvases in a stream batch. Not thread-safe: one thread submits and ticks."""

    def __init__(
        self, unet: Denoiser, control: Control | None, shape: EngineShape, device: torch.device, dtype: torch.dtype
    ) -> None:
        """Lay out the fixed buffers; ``dtype`` is the networks', latents and history stay float32."""
        self._unet, self._control, self.shape = unet, control, shape
        self._device, self._dtype = device, dtype
        self._slots = SlotMap(shape.slots, shape.control_slots)
        self._waiting: deque[Canvas] = deque()
        s, g, hw = shape.slots, shape.control_slots, (shape.channels, shape.latent_size, shape.latent_size)
        self._history = torch.zeros(s, shape.columns, *hw, device=device)
        self._latents = torch.zeros(s, *hw, device=device)
        self._row_prompt = torch.zeros(s, shape.tokens, shape.width, device=device, dtype=dtype)
        self._control_prompt = torch.zeros(g, shape.tokens, shape.width, device=device, dtype=dtype)
        self._condition = torch.zeros(g, *hw, device=device, dtype=dtype)

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is in flight."""
        return not self._waiting and not self._slots.canvases

    def submit(self, canvas: Canvas) -> None:
        """Queue a canvas; it is admitted, in order, as soon as all its rows find slots.

        Raises:
            EngineError: If the canvas can never fit; nothing else is affected.
        """
        self._check(canvas)
        self._waiting.append(canvas)

    @torch.no_grad()
    def tick(self) -> list[Finished]:
        """Advance every canvas in flight by one step; returns those that finished."""
        while self._waiting and (flight := self._slots.try_admit(self._waiting[0])):
            self._waiting.popleft()
            self._place(flight)
        flights = [self._slots.canvases[slot] for slot in sorted(self._slots.canvases)]
        if not flights:
            return []
        noise_pred = self._predict(flights)
        self._advance(flights, noise_pred)
        finished = []
        for flight in flights:
            self._slots.advance(flight)
            if flight.step == flight.canvas.table.num_steps:
                finished.append(Finished(flight.canvas.key, self._latents[flight.slot].clone()))
                self._slots.release(flight)
        return finished

    def drain(self) -> list[Finished]:
        """Tick until nothing is left; returns everything that finished."""
        finished = []
        while not self.idle:
            finished += self.tick()
        return finished

    def run(self, canvases: Iterable[Canvas]) -> dict[str, Float[Tensor, "4 h w"]]:
        """Sample canvases and return clean latents by key: as many as were given."""
        expected = []
        for canvas in canvases:
            self.submit(canvas)
            expected.append(canvas.key)
        finished = {done.key: done.latents for done in self.drain()}
        if sorted(finished) != sorted(expected):
            raise EngineError(f"{len(expected)} canvases went in, {len(finished)} came out")
        return finished

    def _check(self, canvas: Canvas) -> None:
        rows = canvas.rows()
        controls = len({row.prompt.name for row in rows}) if canvas.condition else 0
        if len(rows) > self.shape.slots or controls > self.shape.control_slots:
            raise EngineError(
                f"{canvas.key}: needs {len(rows)} rows and {controls} control inputs, "
                f"the engine has {self.shape.slots} slots and {self.shape.control_slots} control slots"
            )
        if canvas.table.num_columns > self.shape.columns:
            raise EngineError(
                f"{canvas.key}: {canvas.table.name} keeps {canvas.table.num_columns} latents, "
                f"the engine was laid out for {self.shape.columns}"
            )
        if canvas.condition is not None and self._control is None:
            raise EngineError(f"{canvas.key}: has a condition, but the engine has no control net")
        for named in (row.prompt for row in rows):
            if tuple(named.values.shape) != (self.shape.tokens, self.shape.width):
                raise EngineError(
                    f"{canvas.key}: prompt embeddings are {tuple(named.values.shape)}, "
                    f"expected {(self.shape.tokens, self.shape.width)}"
                )

    def _place(self, flight: InFlight) -> None:
        """Fill a canvas's slots: initial and injected noise, prompts, condition."""
        canvas, table = flight.canvas, flight.canvas.table
        size = (self.shape.channels, self.shape.latent_size, self.shape.latent_size)
        initial = canvas.noise.normal("initial", 0, size) * table.init_noise_sigma
        history = self._history[flight.slot]
        history.zero_()
        history[0] = initial.to(self._device)
        first_noise = 1 + table.num_steps
        for column, step in enumerate(table.noise_steps):
            history[first_noise + column] = canvas.noise.normal("injected", step, size).to(self._device)
        self._latents[flight.slot] = history[0]
        for place, control, row in zip(flight.rows, flight.control, canvas.rows(), strict=True):
            embeds = row.prompt.values.to(self._device, self._dtype)
            self._row_prompt[place] = embeds
            if canvas.condition is not None:
                self._control_prompt[control] = embeds
                self._condition[control] = canvas.condition.values.to(self._device, self._dtype)

    def _predict(self, flights: list[InFlight]) -> Float[Tensor, "slot 4 h w"]:
        """One UNet call on all rows, combined into one prediction per canvas slot."""
        s = self.shape.slots
        row_canvas, row_control, row_scale = [0] * s, [0] * s, [0.0] * s
        timesteps, input_scale = [0.0] * s, [1.0] * s
        for flight in flights:
            table = flight.canvas.table
            for place, control in zip(flight.rows, flight.control, strict=True):
                row_canvas[place] = flight.slot
                timesteps[place] = float(table.timesteps[flight.step])
                input_scale[place] = float(table.input_scale[flight.step])
                if control >= 0:
                    row_control[place], row_scale[place] = control, flight.canvas.conditioning_scale
        latents = self._latents[self._index(row_canvas)] * self._column(input_scale)
        residuals = self._residuals(flights, row_control, row_scale)
        rows = self._unet(latents.to(self._dtype), self._values(timesteps), self._row_prompt, residuals).float()
        return self._combine(flights, rows)

    def _residuals(
        self, flights: list[InFlight], row_control: list[int], row_scale: list[float]
    ) -> list[Tensor] | None:
        """Control residuals of every row: the net runs once per control slot, rows index its output."""
        if self._control is None:
            return None
        timesteps = [0.0] * self.shape.control_slots
        for flight in flights:
            for control in flight.control:
                if control >= 0:
                    timesteps[control] = float(flight.canvas.table.timesteps[flight.step])
        shared = self._control(self._condition, self._values(timesteps), self._control_prompt)
        index, scale = self._index(row_control), self._column(row_scale).to(self._dtype)
        return [residual[index] * scale for residual in shared]

    def _combine(self, flights: list[InFlight], rows: Tensor) -> Tensor:
        """Weighted sum of each canvas's rows, always in the same order, so that bits never depend on places."""
        most = max(len(flight.rows) for flight in flights)
        places = [[0] * self.shape.slots for _ in range(most)]
        weights = [[0.0] * self.shape.slots for _ in range(most)]
        for flight in flights:
            for i, (place, row) in enumerate(zip(flight.rows, flight.canvas.rows(), strict=True)):
                places[i][flight.slot], weights[i][flight.slot] = place, row.weight
        total = rows[self._index(places[0])] * self._column(weights[0])
        for further, weight in zip(places[1:], weights[1:], strict=True):
            used = self._column(weight)
            total = torch.where(used != 0, total + rows[self._index(further)] * used, total)
        return total

    def _advance(self, flights: list[InFlight], noise_pred: Tensor) -> None:
        """Store predictions and compute the next latents from each canvas's history."""
        coefficients = torch.zeros(self.shape.slots, self.shape.columns)
        column = [1] * self.shape.slots
        for flight in flights:
            row = flight.canvas.table.coefficients[flight.step]
            coefficients[flight.slot, : len(row)] = row.float()
            column[flight.slot] = 1 + flight.step
        slots = torch.arange(self.shape.slots, device=self._device)
        self._history[slots, self._index(column)] = noise_pred
        weights = coefficients.to(self._device, non_blocking=True)[:, :, None, None, None]
        self._latents = (weights * self._history).sum(1)

    def _index(self, values: list[int]) -> Tensor:
        return torch.tensor(values).to(self._device, non_blocking=True)

    def _values(self, values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32).to(self._device, non_blocking=True)

    def _column(self, values: list[float]) -> Tensor:
        return self._values(values)[:, None, None, None]
