"""Everything but latents that one tick reads: slot indices, timesteps, weights and solver coefficients.

The host knows all of it before the tick, so it is copied to the device and nothing is ever read back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import Field, dataclass, fields
from types import SimpleNamespace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dentgen.diffusion.networks import Branches, EngineShape
from dentgen.diffusion.region_numbers import RegionNumbers, fill_regions
from dentgen.diffusion.slots import InFlight


@dataclass(slots=True, eq=False)
class BranchNumbers:
    """Numbers of one control branch.

    Attributes:
        scale: Factor on the residuals of each row; 0 where the branch does not act.
        index: Control slot of each row; used by shared branches only.
        timesteps: Timestep of each control slot; empty for per-row branches.
    """

    scale: Float[Tensor, " row"]
    index: Int[Tensor, " row"]
    timesteps: Float[Tensor, " control"]


@dataclass(slots=True, eq=False)
class TickNumbers:
    """Numbers of one tick, by row slot or by canvas slot.

    Attributes:
        row_canvas: Canvas slot of each row.
        timesteps, input_scale: Training timestep and input scale of each row.
        places, weights: Row slots that make up each canvas's prediction, and their weights.
        used: Whether there is such a row.
        residual_latents, residual_reference: Factors of residual guidance.
        sets_reference: Whether the last row's prediction defines the canvas's reference latents.
        reference_latents, reference_row: Factors of those reference latents.
        coefficients: The canvas's row of its solver table; idle slots write to the spare last column.
        column: History column that receives the prediction.
        edits: Whether the kept part of the image is restored after the step.
        known_signal, known_noise: Factors of image and noise in the restored part.
        regions: Numbers of regions and windows; of no rows in an engine without them.
        branches: Numbers of each control branch.
    """

    row_canvas: Int[Tensor, " row"]
    timesteps: Float[Tensor, " row"]
    input_scale: Float[Tensor, " row"]
    places: Int[Tensor, "max_rows slot"]
    weights: Float[Tensor, "max_rows slot"]
    used: Bool[Tensor, "max_rows slot"]
    residual_latents: Float[Tensor, " slot"]
    residual_reference: Float[Tensor, " slot"]
    sets_reference: Bool[Tensor, " slot"]
    reference_latents: Float[Tensor, " slot"]
    reference_row: Float[Tensor, " slot"]
    coefficients: Float[Tensor, "slot columns"]
    column: Int[Tensor, " slot"]
    edits: Bool[Tensor, " slot"]
    known_signal: Float[Tensor, " slot"]
    known_noise: Float[Tensor, " slot"]
    regions: RegionNumbers
    branches: dict[str, BranchNumbers]

    @classmethod
    def idle(cls, shape: EngineShape, branches: Branches) -> TickNumbers:
        """Numbers of a tick without canvases, on the CPU."""
        s, c, spare = shape.slots, shape.canvas_slots, shape.columns
        control_slots = {name: shape.control_slots if name in branches.shared else 0 for name in branches.names}
        return cls(
            row_canvas=_ints(s),
            timesteps=torch.zeros(s),
            input_scale=torch.ones(s),
            places=_ints(shape.max_rows, c),
            weights=torch.zeros(shape.max_rows, c),
            used=_flags(shape.max_rows, c),
            residual_latents=torch.zeros(c),
            residual_reference=torch.zeros(c),
            sets_reference=_flags(c),
            reference_latents=torch.zeros(c),
            reference_row=torch.zeros(c),
            coefficients=torch.zeros(c, shape.columns + 1),
            column=_ints(c) + spare,
            edits=_flags(c),
            known_signal=torch.zeros(c),
            known_noise=torch.zeros(c),
            regions=RegionNumbers.idle(s if shape.layered else 0),
            branches={n: BranchNumbers(torch.zeros(s), _ints(s), torch.zeros(g)) for n, g in control_slots.items()},
        )

    @classmethod
    def of(cls, flights: Sequence[InFlight], shape: EngineShape, branches: Branches) -> TickNumbers:
        """Numbers of the next tick of the given canvases, on the CPU."""
        numbers = cls.idle(shape, branches)
        arrays = _arrays(numbers)
        for flight in flights:
            _fill_solver(arrays, flight)
            _fill_guidance(arrays, flight)
            _fill_control(arrays, flight)
            if shape.layered:
                fill_regions(arrays.regions, flight)
        return numbers

    def on(self, device: torch.device) -> TickNumbers:
        """A copy on a device, to be refilled by ``fill`` before every tick."""

        def moved(part: _Part) -> dict[str, Tensor]:
            return {f.name: getattr(part, f.name).to(device) for f in _own(part)}

        branches = {name: BranchNumbers(**moved(branch)) for name, branch in self.branches.items()}
        return TickNumbers(**moved(self), regions=RegionNumbers(**moved(self.regions)), branches=branches)

    def fill(self, numbers: TickNumbers) -> None:
        """Copy the numbers of another tick into these tensors, without waiting for the device."""
        for target, source in zip(_tensors(self), _tensors(numbers), strict=True):
            target.copy_(source.pin_memory() if target.is_cuda else source, non_blocking=True)


_Part = TickNumbers | RegionNumbers | BranchNumbers


def _ints(*size: int) -> Tensor:
    return torch.zeros(*size, dtype=torch.long)


def _flags(*size: int) -> Tensor:
    return torch.zeros(*size, dtype=torch.bool)


def _fill_solver(arrays: Any, flight: InFlight) -> None:
    """Fill in the inputs of a canvas's rows, its solver row and its inpainting factors."""
    table, step, slot = flight.canvas.table, flight.step, flight.slot
    for row in flight.rows:
        arrays.row_canvas[row] = slot
        arrays.timesteps[row] = table.timesteps[step]
        arrays.input_scale[row] = table.input_scale[step]
    arrays.coefficients[slot, : table.num_columns] = table.coefficients[step]
    arrays.column[slot] = 1 + step
    if not flight.canvas.edited:
        return
    last = step + 1 == table.num_steps
    arrays.edits[slot] = True
    arrays.known_signal[slot] = 1.0 if last else table.signal[step + 1]
    arrays.known_noise[slot] = 0.0 if last else table.noise[step + 1]


def _fill_guidance(arrays: Any, flight: InFlight) -> None:
    """Fill in how a canvas's rows are combined into its prediction."""
    canvas, slot, table = flight.canvas, flight.slot, flight.canvas.table
    for number, (place, row) in enumerate(zip(flight.rows, canvas.rows(flight.step), strict=True)):
        arrays.places[number, slot] = place
        arrays.weights[number, slot] = row.weight
        arrays.used[number, slot] = True
    residual = canvas.guidance.residual(table, flight.step)
    arrays.residual_latents[slot], arrays.residual_reference[slot] = residual.latents, residual.reference
    if canvas.guidance.sets_reference(flight.step):
        signal, noise = float(table.signal[flight.step]), float(table.noise[flight.step])
        arrays.sets_reference[slot] = True
        arrays.reference_latents[slot], arrays.reference_row[slot] = 1 / signal, -noise / signal


def _fill_control(arrays: Any, flight: InFlight) -> None:
    """Fill in which control residuals a canvas's rows use, and their scales."""
    table = flight.canvas.table
    for control in flight.canvas.controls:
        branch = arrays.branches[control.branch]
        scale = control.scale_at(flight.step, table.num_steps)
        for row in flight.rows:
            branch.scale[row] = scale
        for row, place in zip(flight.rows, flight.control.get(control.branch, ()), strict=False):
            branch.index[row] = place
            branch.timesteps[place] = table.timesteps[flight.step]


def _arrays(numbers: TickNumbers) -> SimpleNamespace:
    """The same memory as numpy arrays, which are much faster at assigning single elements."""

    def shared(part: _Part) -> dict[str, Any]:
        return {f.name: getattr(part, f.name).numpy() for f in _own(part)}

    branches = {name: SimpleNamespace(**shared(branch)) for name, branch in numbers.branches.items()}
    return SimpleNamespace(**shared(numbers), regions=SimpleNamespace(**shared(numbers.regions)), branches=branches)


def _tensors(numbers: TickNumbers) -> list[Tensor]:
    """All tensors, in a fixed order."""
    parts: tuple[_Part, ...] = (numbers, numbers.regions, *numbers.branches.values())
    return [getattr(part, f.name) for part in parts for f in _own(part)]


def _own(part: _Part) -> list[Field[Any]]:
    """The fields that are tensors."""
    return [f for f in fields(part) if f.name not in {"regions", "branches"}]
