"""The engine's device buffers, and one tick as a function of them and of the tick's numbers.

There are no host syncs and no changing shapes, so a tick can be captured as a CUDA graph. Latents and history are
float32 whatever the precision of the networks.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from dentgen.diffusion.canvas import Canvas
from dentgen.diffusion.networks import Branches, Denoiser, EngineShape
from dentgen.diffusion.region_state import RegionState
from dentgen.diffusion.slots import InFlight
from dentgen.diffusion.tick_numbers import TickNumbers
from dentgen.errors import is_device_fault


class TickState:
    """Device buffers of an engine.

    Attributes:
        numbers: Numbers that the next ``compute`` reads.
        latents: (slot, 4, h, w) latents of every canvas slot, updated in place by every tick.
        broken: Exceptions raised by control branches in the last ``compute``, by branch.
    """

    def __init__(
        self, unet: Denoiser, branches: Branches, shape: EngineShape, device: torch.device, dtype: torch.dtype
    ) -> None:
        """Allocate the buffers on ``device``; ``dtype`` is the precision of the networks."""
        self._unet, self._branches, self._shape, self._device, self._dtype = unet, branches, shape, device, dtype
        s, c, latent = shape.slots, shape.canvas_slots, shape.latent

        def zeros(*size: int, of: torch.dtype = torch.float32) -> Tensor:
            return torch.zeros(*size, device=device, dtype=of)

        self.latents = zeros(c, *latent)
        self._history = zeros(c, shape.columns + 1, self.latents[0].numel())
        self._noise, self._image, self._reference = zeros(c, *latent), zeros(c, *latent), zeros(c, *latent)
        self._keep = zeros(c, 1, *latent[1:], of=torch.bool)
        self._mask = zeros(c, shape.mask_channels, *latent[1:], of=dtype)
        self._row_prompt = zeros(s, shape.tokens, shape.width, of=dtype)
        shared, g = branches.shared, shape.control_slots
        self._condition = {name: zeros(g, *shape.row_latent, of=dtype) for name in shared}
        self._control_prompt = {name: zeros(g, shape.tokens, shape.width, of=dtype) for name in shared}
        weighted = branches.names if shape.weighted else ()
        self._where = {name: torch.ones(c, 1, *latent[1:], device=device, dtype=dtype) for name in weighted}
        self._hint = {name: zeros(c, *control.hint_shape, of=dtype) for name, control in branches.per_row.items()}
        self._regions = RegionState(shape, device) if shape.layered else None
        self._slots = torch.arange(c, device=device)
        self.numbers = TickNumbers.idle(shape, branches).on(device)
        self.broken: dict[str, Exception] = {}

    def place(self, flight: InFlight) -> None:
        """Write a newly admitted canvas into its slots: noise, image, history, prompts and conditions."""
        canvas, slot, table = flight.canvas, flight.slot, flight.canvas.table
        noise = canvas.noise.normal("initial", 0, self._shape.latent)
        self._put(self._noise[slot], noise)
        self._put_picture(slot, canvas)
        start = table.start_noise * self._noise[slot] + table.start_signal * self._image[slot]
        self.latents[slot] = start
        history = self._history[slot]
        history.zero_()  # values of a previous canvas may be infinite, and zero times infinity is NaN
        history[0] = start.flatten()
        for column, step in enumerate(table.noise_steps, table.first_noise):
            self._put(history[column], canvas.noise.normal("injected", step, self._shape.latent).flatten())
        self._put_rows(flight)
        self._put_control(flight)
        if self._regions is not None:
            self._regions.place(flight, self._put)

    def update(self, flight: InFlight) -> None:
        """Write prompts, masks and conditions of a canvas in flight that has changed; nothing waits for the device."""
        self._put_rows(flight)
        self._put_control(flight)
        if self._regions is not None:
            self._regions.place_masks(flight, self._put)

    def compute(self, active: Collection[str]) -> None:
        """Run one tick: predict, combine the rows, advance the latents.

        Args:
            active: Control branches to run; the others act on no row in this tick.
        """
        numbers = self.numbers
        latents = self._cropped(self.latents)
        seen = latents if self._regions is None else self._regions.inputs(latents, self._noise, numbers)
        inputs = self._moved(seen * _wide(numbers.input_scale)).to(self._dtype)
        residuals = self._residuals(inputs, active)
        if self._shape.mask_channels:
            inputs = torch.cat([inputs, self._moved(self._cropped(self._mask))], 1)
        rows = self._moved(self._unet(inputs, numbers.timesteps, self._row_prompt, residuals).float(), back=True)
        if self._regions is None:
            self._advance(self._guided(rows, self._combined(rows)))
        else:
            self._advance(self._guided(rows, self._regions.combined(rows, latents, seen, numbers)))

    def _cropped(self, canvases: Tensor) -> Tensor:
        """What each row sees of its canvas."""
        if self._regions is None:
            return canvases.index_select(0, self.numbers.row_canvas)
        return self._regions.places.cropped(canvases, self.numbers)

    def _moved(self, rows: Tensor, *, back: bool = False) -> Tensor:
        """Rows as their regions are moved, or back."""
        return rows if self._regions is None else self._regions.moved(rows, self.numbers, back=back)

    def _put_picture(self, slot: int, canvas: Canvas) -> None:
        """Write image, reference latents and masks of a canvas; zeros where it has none."""
        blank = torch.zeros(self._shape.latent)
        image, repaint = blank if canvas.image is None else canvas.image, canvas.repaint
        self._put(self._image[slot], image)
        self._put(self._reference[slot], image if canvas.table.start_signal else blank)
        keep = torch.zeros(1, *self._shape.latent[1:], dtype=torch.bool) if repaint is None else repaint.keep[None]
        self._put(self._keep[slot], keep)
        if self._shape.mask_channels and repaint is not None and repaint.masked is not None:
            paint = (~keep).to(repaint.masked)
            self._put(self._mask[slot], torch.cat([paint, repaint.masked]))

    def _put_rows(self, flight: InFlight) -> None:
        """Write prompts of a canvas's rows, and prompts and condition latents of their control slots."""
        conditions = {control.branch: control.condition.values for control in flight.canvas.controls}
        for number, (place, row) in enumerate(zip(flight.rows, flight.canvas.rows(flight.step), strict=True)):
            self._put(self._row_prompt[place], row.prompt.values)
            for branch, places in flight.control.items():
                seen = conditions[branch] if row.window is None else row.window.crop(conditions[branch])
                self._put(self._control_prompt[branch][places[number]], row.prompt.values)
                self._put(self._condition[branch][places[number]], seen)

    def _put_control(self, flight: InFlight) -> None:
        """Write hints of a canvas, and scales by place."""
        for where in self._where.values():
            where[flight.slot].fill_(1)  # of the canvas before
        for control in flight.canvas.controls:
            if control.where is not None:
                self._put(self._where[control.branch][flight.slot], control.where[None])
            if control.branch in self._hint:
                self._put(self._hint[control.branch][flight.slot], control.condition.values)

    def _put(self, buffer: Tensor, values: Tensor) -> None:
        """Copy into a buffer without waiting for the device."""
        pinned = values.pin_memory() if buffer.is_cuda and not values.is_cuda else values
        buffer.copy_(pinned, non_blocking=True)

    def _residuals(self, inputs: Tensor, active: Collection[str]) -> list[Tensor] | None:
        """Control residuals of every row, summed over the active branches; None if there are none."""
        self.broken = {}
        total: list[Tensor] | None = None
        for name in self._branches.names:
            if name not in active:
                continue
            try:
                residuals = self._branch(name, inputs)
            except Exception as error:
                if is_device_fault(error):
                    raise
                self.broken[name] = error  # fails the canvases that the branch acts on, and no others
                continue
            total = residuals if total is None else [a.add_(b) for a, b in zip(total, residuals, strict=True)]
        return total

    def _branch(self, name: str, inputs: Tensor) -> list[Tensor]:
        """Scaled residuals of one branch for every row."""
        numbers, scale = self.numbers.branches[name], self.numbers.branches[name].scale.to(self._dtype)
        if name in self._branches.shared:
            found = self._branches.shared[name](self._condition[name], numbers.timesteps, self._control_prompt[name])
            rows = [_scaled(residual.index_select(0, numbers.index), scale) for residual in found]
            return [self._moved(residual) for residual in self._placed(name, rows)]
        hints = self._cropped(self._hint[name])
        found = self._branches.per_row[name](inputs, self.numbers.timesteps, self._row_prompt, self._moved(hints))
        rows = [self._moved(_scaled(residual.clone(), scale), back=True) for residual in found]
        return [self._moved(residual) for residual in self._placed(name, rows)]

    def _placed(self, name: str, residuals: list[Tensor]) -> list[Tensor]:
        """Residuals times their canvas's factor at each place, in place; means over the cells of deeper levels."""
        if name not in self._where:
            return residuals
        where = self._cropped(self._where[name])
        sizes = {(residual.shape[-2], residual.shape[-1]) for residual in residuals}
        by_size = {size: adaptive_avg_pool2d(where, size) for size in sizes}
        return [residual.mul_(by_size[residual.shape[-2], residual.shape[-1]]) for residual in residuals]

    def _combined(self, rows: Float[Tensor, "row 4 h w"]) -> Float[Tensor, "slot 4 H W"]:
        """One prediction per canvas. Rows are added in a fixed order, so that bits do not depend on row slots."""
        numbers = self.numbers
        first, last = (rows.index_select(0, places) for places in numbers.places)
        weights, further = _wide(numbers.weights[0]), _wide(numbers.weights[1])
        total = first * weights
        return torch.where(further != 0, total + last * further, total)

    def _guided(self, rows: Float[Tensor, "row 4 h w"], total: Tensor) -> Float[Tensor, "slot 4 H W"]:
        """Combined predictions with the term of residual guidance, whose reference the last row may define."""
        numbers = self.numbers
        latents_factor, reference_factor = _wide(numbers.residual_latents), _wide(numbers.residual_reference)
        guided = total + latents_factor * self.latents + reference_factor * self._reference
        if rows.shape[-2:] == self.latents.shape[-2:]:  # windows have no row that sees all of a canvas
            last = rows.index_select(0, numbers.places[1])
            implied = _wide(numbers.reference_latents) * self.latents + _wide(numbers.reference_row) * last
            self._reference.copy_(torch.where(_wide(numbers.sets_reference), implied, self._reference))
        return torch.where(latents_factor != 0, guided, total)

    def _advance(self, predictions: Float[Tensor, "slot 4 H W"]) -> None:
        """Append the predictions to the history, compute the next latents from it, restore kept parts of images."""
        numbers = self.numbers
        self._history[self._slots, numbers.column] = predictions.flatten(1)
        after = torch.bmm(numbers.coefficients[:, None], self._history).view_as(self.latents)
        known = _wide(numbers.known_signal) * self._image + _wide(numbers.known_noise) * self._noise
        self.latents.copy_(torch.where(_wide(numbers.edits) & self._keep, known, after))


def _wide(values: Any) -> Any:
    return values[:, None, None, None]


def _scaled(residual: Tensor, scale: Tensor) -> Tensor:
    """Residuals times the scale of their row, in place; exact zeros where it is zero, even if residuals are NaN."""
    wide: Sequence[int] = (-1, *(1,) * (residual.dim() - 1))
    return residual.mul_(scale.view(wide)).masked_fill_((scale == 0).view(wide), 0)
