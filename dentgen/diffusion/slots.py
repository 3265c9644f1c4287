"""Slot allocation on the host: which canvas, row and control input occupies which slot of the fixed batches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from dentgen.diffusion.canvas import Canvas, ControlInput
from dentgen.diffusion.guidance import Row

#: What shared control residuals depend on: condition and window, prompt, solver table, step. Equal keys share a slot.
ControlKey = tuple[str, str, int, int]


@dataclass(slots=True)
class InFlight:
    """An admitted canvas and its slots.

    Attributes:
        canvas: The canvas.
        slot: Canvas slot.
        rows: Row slots, in combination order.
        control: Control slot of each row, for every shared branch that the canvas uses.
        step: Step that the next tick runs.
    """

    canvas: Canvas
    slot: int
    rows: tuple[int, ...]
    control: dict[str, tuple[int, ...]]
    step: int = 0

    @property
    def done(self) -> bool:
        """Whether all steps have run."""
        return self.step == self.canvas.table.num_steps


@dataclass(slots=True)
class _ControlSlot:
    key: ControlKey
    users: int


@dataclass(slots=True)
class ControlSlots:
    """Reference-counted slots of one shared branch's batch; rows with equal residuals share a slot.

    Attributes:
        size: Number of slots.
    """

    size: int
    _used: dict[int, _ControlSlot] = field(default_factory=dict)

    def find(self, keys: Sequence[ControlKey]) -> tuple[int, ...] | None:
        """Slot of every key: the one in use for it, otherwise the lowest free one; None if there are too few."""
        slots = {used.key: number for number, used in self._used.items()}
        free = [number for number in range(self.size) if number not in self._used]
        for key in keys:
            if key not in slots:
                if not free:
                    return None
                slots[key] = free.pop(0)
        return tuple(slots[key] for key in keys)

    def take(self, numbers: Iterable[int], keys: Iterable[ControlKey]) -> None:
        """Occupy the slots that ``find`` returned."""
        for number, key in zip(numbers, keys, strict=True):
            self._used.setdefault(number, _ControlSlot(key, 0)).users += 1

    def rename(self, number: int, key: ControlKey) -> None:
        """Change the key of a slot in use to that of its users' next step."""
        self._used[number].key = key

    def leave(self, numbers: Iterable[int]) -> None:
        """Drop one user of each slot; slots without users become free."""
        for number in numbers:
            self._used[number].users -= 1
            if not self._used[number].users:
                del self._used[number]


class SlotMap:
    """Allocates canvas, row and control slots, always the lowest free ones, so that submission order alone decides."""

    def __init__(self, num_rows: int, shared_branches: Mapping[str, int], num_canvases: int | None = None) -> None:
        """Start with all slots free.

        Args:
            num_rows: Row slots.
            shared_branches: Number of control slots by name of the shared branch.
            num_canvases: Canvas slots; None: as many as there are row slots.
        """
        self.canvases: dict[int, InFlight] = {}
        self._num_rows = num_rows
        self._num_canvases = num_rows if num_canvases is None else num_canvases
        self._free_rows = list(range(num_rows))
        self._control = {name: ControlSlots(size) for name, size in shared_branches.items()}

    @property
    def rows_in_use(self) -> int:
        """Row slots that canvases occupy."""
        return self._num_rows - len(self._free_rows)

    def flights(self) -> list[InFlight]:
        """Canvases in flight, ordered by canvas slot."""
        return [self.canvases[slot] for slot in sorted(self.canvases)]

    def try_admit(self, canvas: Canvas) -> InFlight | None:
        """Allocate slots for all rows and control inputs of a canvas; returns None and changes nothing if it cannot."""
        rows = canvas.rows(0)
        if len(rows) > len(self._free_rows) or len(self.canvases) == self._num_canvases:
            return None
        found: dict[str, tuple[int, ...]] = {}
        for control in self._shared(canvas):
            places = self._control[control.branch].find(_keys(canvas, control, rows, 0))
            if places is None:
                return None
            found[control.branch] = places
        for control in self._shared(canvas):
            self._control[control.branch].take(found[control.branch], _keys(canvas, control, rows, 0))
        slot = next(i for i in range(self._num_canvases) if i not in self.canvases)
        flight = InFlight(canvas, slot, tuple(self._free_rows.pop(0) for _ in rows), found)
        self.canvases[slot] = flight
        return flight

    def change(self, flight: InFlight, canvas: Canvas) -> bool:
        """Give a canvas in flight other layers or control inputs, with as many rows.

        Control slots of a canvas belong to its neighbours, too, so other prompts or conditions move it to others.

        Returns:
            False, and nothing has changed, if there are too few control slots.
        """
        before, after = self._control_keys(flight.canvas, flight.step), self._control_keys(canvas, flight.step)
        if before == after:
            flight.canvas = canvas
            return True
        for branch in before:
            self._control[branch].leave(flight.control[branch])
        found = {branch: self._control[branch].find(keys) for branch, keys in after.items()}
        fits = all(places is not None for places in found.values())
        taken = {branch: places for branch, places in found.items() if places is not None} if fits else flight.control
        for branch, keys in (after if fits else before).items():
            self._control[branch].take(taken[branch], keys)
        if fits:
            flight.canvas, flight.control = canvas, taken
        return fits

    def advance(self, flight: InFlight) -> None:
        """Move a canvas to its next step and free the rows that it no longer needs."""
        flight.step += 1
        rows = flight.canvas.rows(flight.step)
        for control in self._shared(flight.canvas):
            places = flight.control[control.branch]
            self._control[control.branch].leave(places[len(rows) :])
            flight.control[control.branch] = places[: len(rows)]
            for number, key in zip(places, _keys(flight.canvas, control, rows, flight.step), strict=False):
                self._control[control.branch].rename(number, key)
        self._free(flight.rows[len(rows) :])
        flight.rows = flight.rows[: len(rows)]

    def release(self, flight: InFlight) -> None:
        """Free all slots of a canvas."""
        del self.canvases[flight.slot]
        self._free(flight.rows)
        for branch, places in flight.control.items():
            self._control[branch].leave(places)

    def _free(self, rows: tuple[int, ...]) -> None:
        self._free_rows = sorted([*self._free_rows, *rows])

    def _control_keys(self, canvas: Canvas, step: int) -> dict[str, list[ControlKey]]:
        """Keys of the control slots that a canvas needs at a step, by branch."""
        rows = canvas.rows(step)
        return {control.branch: _keys(canvas, control, rows, step) for control in self._shared(canvas)}

    def _shared(self, canvas: Canvas) -> list[ControlInput]:
        return [control for control in canvas.controls if control.branch in self._control]


def _keys(canvas: Canvas, control: ControlInput, rows: Sequence[Row], step: int) -> list[ControlKey]:
    return [(_seen(control, row), row.prompt.name, id(canvas.table), step) for row in rows]


def _seen(control: ControlInput, row: Row) -> str:
    """Name of what a row sees of a condition."""
    name = control.condition.name
    return name if row.window is None else f"{name} {row.window.top} {row.window.left}"
