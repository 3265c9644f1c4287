"""Places in the engine's fixed batches: which canvas, row and control input stands where.

Host-side bookkeeping only, in plain integers; refuses to touch tensors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from dentgen.diffusion.canvas import Canvas, ControlInput
from dentgen.diffusion.guidance import Row

#: What shared control residuals depend on: condition, prompt, schedule and step. Rows that agree share a control slot.
ControlKey = tuple[str, str, int, int]


@dataclass(slots=True)
class InFlight:
    """A canvas in its slot.

    Attributes:
        canvas: The canvas.
        slot: Canvas slot.
        rows: Row slots, in combination order.
        control: For every shared branch that the canvas uses the control slot of each row.
        step: Step that the next tick runs.
    """

    canvas: Canvas
    slot: int
    rows: tuple[int, ...]
    control: dict[str, tuple[int, ...]]
    step: int = 0

    @property
    def done(self) -> bool:
        """Whether every step has run."""
        return self.step == self.canvas.table.num_steps


@dataclass(slots=True)
class _Place:
    key: ControlKey
    users: int


@dataclass(slots=True)
class ControlSlots:
    """Places in one shared branch's batch; rows whose residuals are equal stand in one.

    Attributes:
        size: How many there are.
    """

    size: int
    _places: dict[int, _Place] = field(default_factory=dict)

    def find(self, wanted: Sequence[ControlKey]) -> tuple[int, ...] | None:
        """A place for every key, standing ones first, then the lowest free; None if they do not suffice."""
        standing = {place.key: number for number, place in self._places.items()}
        free = [number for number in range(self.size) if number not in self._places]
        for key in wanted:
            if key not in standing:
                if not free:
                    return None
                standing[key] = free.pop(0)
        return tuple(standing[key] for key in wanted)

    def take(self, places: Iterable[int], keys: Iterable[ControlKey]) -> None:
        """Occupy what ``find`` found."""
        for number, key in zip(places, keys, strict=True):
            self._places.setdefault(number, _Place(key, 0)).users += 1

    def rename(self, number: int, key: ControlKey) -> None:
        """Move a place to its users' next step."""
        self._places[number].key = key

    def leave(self, places: Iterable[int]) -> None:
        """Give places back; the last user frees one."""
        for number in places:
            self._places[number].users -= 1
            if not self._places[number].users:
                del self._places[number]


class SlotMap:
    """Allocation of canvas, row and control slots; always the lowest free place, so that order alone decides."""

    def __init__(self, num_rows: int, shared_branches: Mapping[str, int]) -> None:
        """Take row slots, which are canvas slots too, and the control slots of every shared branch."""
        self.canvases: dict[int, InFlight] = {}
        self._num_rows = num_rows
        self._free_rows = list(range(num_rows))
        self._control = {name: ControlSlots(size) for name, size in shared_branches.items()}

    def flights(self) -> list[InFlight]:
        """What is in flight, by slot."""
        return [self.canvases[slot] for slot in sorted(self.canvases)]

    def try_admit(self, canvas: Canvas) -> InFlight | None:
        """Place a canvas with all its rows and control inputs, or leave everything as it was."""
        rows = canvas.rows(0)
        if len(rows) > len(self._free_rows):
            return None
        found: dict[str, tuple[int, ...]] = {}
        for control in self._shared(canvas):
            places = self._control[control.branch].find(_keys(canvas, control, rows, 0))
            if places is None:
                return None
            found[control.branch] = places
        for control in self._shared(canvas):
            self._control[control.branch].take(found[control.branch], _keys(canvas, control, rows, 0))
        slot = next(i for i in range(self._num_rows) if i not in self.canvases)
        flight = InFlight(canvas, slot, tuple(self._free_rows.pop(0) for _ in rows), found)
        self.canvases[slot] = flight
        return flight

    def advance(self, flight: InFlight) -> None:
        """Move a canvas to its next step; rows that it needs no longer become free."""
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
        """Free a canvas's places."""
        del self.canvases[flight.slot]
        self._free(flight.rows)
        for branch, places in flight.control.items():
            self._control[branch].leave(places)

    def _free(self, rows: tuple[int, ...]) -> None:
        self._free_rows = sorted([*self._free_rows, *rows])

    def _shared(self, canvas: Canvas) -> list[ControlInput]:
        return [control for control in canvas.controls if control.branch in self._control]


def _keys(canvas: Canvas, control: ControlInput, rows: Sequence[Row], step: int) -> list[ControlKey]:
    return [(control.condition.name, row.prompt.name, id(canvas.table), step) for row in rows]
