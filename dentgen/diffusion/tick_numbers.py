"""The numbers of one tick: which row works on which canvas, at which step, with which coefficients.

The host knows all of them before the tick, so they go to the device in one direction only and nothing ever waits for an
answer. Refuses to touch latents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from types import SimpleNamespace
from typing import Any, Final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dentgen.diffusion.networks import Branches, EngineShape
from dentgen.diffusion.slots import InFlight

#: Rows that a canvas can have at once.
MOST_ROWS: Final = 2


@dataclass(slots=True, eq=False)
class BranchNumbers:
    """One control branch's part.

    Attributes:
        scale: Factor on the residuals of each row; 0 where the branch does not act.
        index: Control slot of each row, for a shared branch.
        timesteps: Timestep of each control slot.
    """

    scale: Float[Tensor, " row"]
    index: Int[Tensor, " row"]
    timesteps: Float[Tensor, " control"]


@dataclass(slots=True, eq=False)
class TickNumbers:
    """Everything that differs from tick to tick, besides latents.

    Attributes:
        row_canvas: Canvas slot of each row.
        timesteps, input_scale: Of each row.
        places, weights: Rows that make up each canvas's prediction, and with which weight.
        residual_latents, residual_reference: Factors of residual guidance.
        sets_reference: Canvases whose last row's prediction defines their reference picture.
        reference_latents, reference_row: Factors of that picture.
        coefficients: The solver's row of each canvas; the last column is for what nobody needs.
        column: Where the prediction is kept.
        edits: Canvases whose kept part is put back, ...
        known_signal, known_noise: ... at this level of noise.
    """

    row_canvas: Int[Tensor, " row"]
    timesteps: Float[Tensor, " row"]
    input_scale: Float[Tensor, " row"]
    places: Int[Tensor, "most row"]
    weights: Float[Tensor, "most row"]
    residual_latents: Float[Tensor, " row"]
    residual_reference: Float[Tensor, " row"]
    sets_reference: Bool[Tensor, " row"]
    reference_latents: Float[Tensor, " row"]
    reference_row: Float[Tensor, " row"]
    coefficients: Float[Tensor, "row columns"]
    column: Int[Tensor, " row"]
    edits: Bool[Tensor, " row"]
    known_signal: Float[Tensor, " row"]
    known_noise: Float[Tensor, " row"]
    branches: dict[str, BranchNumbers]

    @classmethod
    def idle(cls, shape: EngineShape, branches: Branches) -> TickNumbers:
        """The numbers of a tick without canvases, on the CPU."""
        s, spare = shape.slots, shape.columns
        control_slots = {name: shape.control_slots if name in branches.shared else 0 for name in branches.names}
        return cls(
            row_canvas=_ints(s),
            timesteps=torch.zeros(s),
            input_scale=torch.ones(s),
            places=_ints(MOST_ROWS, s),
            weights=torch.zeros(MOST_ROWS, s),
            residual_latents=torch.zeros(s),
            residual_reference=torch.zeros(s),
            sets_reference=_flags(s),
            reference_latents=torch.zeros(s),
            reference_row=torch.zeros(s),
            coefficients=torch.zeros(s, shape.columns + 1),
            column=_ints(s) + spare,
            edits=_flags(s),
            known_signal=torch.zeros(s),
            known_noise=torch.zeros(s),
            branches={n: BranchNumbers(torch.zeros(s), _ints(s), torch.zeros(g)) for n, g in control_slots.items()},
        )

    @classmethod
    def of(cls, flights: Sequence[InFlight], shape: EngineShape, branches: Branches) -> TickNumbers:
        """The numbers of the next tick of these canvases."""
        numbers = cls.idle(shape, branches)
        arrays = _arrays(numbers)
        for flight in flights:
            _solve(arrays, flight)
            _combine(arrays, flight)
            _control(arrays, flight)
        return numbers

    def on(self, device: torch.device) -> TickNumbers:
        """A copy on a device, to be filled again and again by ``fill``."""

        def moved(part: TickNumbers | BranchNumbers) -> dict[str, Tensor]:
            return {f.name: getattr(part, f.name).to(device) for f in fields(part) if f.name != "branches"}

        branches = {name: BranchNumbers(**moved(branch)) for name, branch in self.branches.items()}
        return TickNumbers(**moved(self), branches=branches)

    def fill(self, numbers: TickNumbers) -> None:
        """Take over another tick's numbers without waiting for the device."""
        for mine, theirs in zip(_tensors(self), _tensors(numbers), strict=True):
            mine.copy_(theirs.pin_memory() if mine.is_cuda else theirs, non_blocking=True)


def _ints(*size: int) -> Tensor:
    return torch.zeros(*size, dtype=torch.long)


def _flags(*size: int) -> Tensor:
    return torch.zeros(*size, dtype=torch.bool)


def _solve(arrays: Any, flight: InFlight) -> None:
    """Rows' inputs, and what the solver and the edits of a canvas need."""
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


def _combine(arrays: Any, flight: InFlight) -> None:
    """How a canvas's rows become its prediction."""
    canvas, slot, table = flight.canvas, flight.slot, flight.canvas.table
    for number, (place, row) in enumerate(zip(flight.rows, canvas.rows(flight.step), strict=True)):
        arrays.places[number, slot] = place
        arrays.weights[number, slot] = row.weight
    residual = canvas.guidance.residual(table, flight.step)
    arrays.residual_latents[slot], arrays.residual_reference[slot] = residual.latents, residual.reference
    if canvas.guidance.sets_reference(flight.step):
        signal, noise = float(table.signal[flight.step]), float(table.noise[flight.step])
        arrays.sets_reference[slot] = True
        arrays.reference_latents[slot], arrays.reference_row[slot] = 1 / signal, -noise / signal


def _control(arrays: Any, flight: InFlight) -> None:
    """Which control residuals a canvas's rows take, and how strongly."""
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
    """The same memory as numpy arrays, which take single numbers much faster."""

    def shared(part: TickNumbers | BranchNumbers) -> dict[str, Any]:
        return {f.name: getattr(part, f.name).numpy() for f in fields(part) if f.name != "branches"}

    branches = {name: SimpleNamespace(**shared(branch)) for name, branch in numbers.branches.items()}
    return SimpleNamespace(**shared(numbers), branches=branches)


def _tensors(numbers: TickNumbers) -> list[Tensor]:
    """Every tensor, in an order of its own."""
    mine = [getattr(numbers, f.name) for f in fields(numbers) if f.name != "branches"]
    return mine + [getattr(branch, f.name) for branch in numbers.branches.values() for f in fields(branch)]
