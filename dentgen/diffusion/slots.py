"""Places in the engine's fixed batches: which canvas, row and control input stands where.

Host-side bookkeeping only, in plain integers; refuses to touch tensors.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dentgen.diffusion.canvas import Canvas, Row

#: What control residuals depend on: condition, prompt, schedule and step. Rows that agree share one control slot.
ControlKey = tuple[str, str, int, int]


@dataclass(slots=True)
class InFlight:
    """A canvas in its slot.

    Attributes:
        canvas: The canvas.
        slot: Canvas slot.
        rows: Row slots, in combination order.
        control: Control slot of each row, -1 without control.
        step: Step that the next tick runs.
    """

    canvas: Canvas
    slot: int
    rows: tuple[int, ...]
    control: tuple[int, ...]
    step: int = 0


@dataclass(slots=True)
class _ControlSlot:
    key: ControlKey
    users: int


@dataclass(slots=True)
class SlotMap:
    """Allocation of canvas, row and control slots; always the lowest free place, so that order alone decides.

    Attributes:
        num_rows: Row slots, which are canvas slots too: a canvas has at least one row.
        num_controls: Control slots.
    """

    num_rows: int
    num_controls: int
    canvases: dict[int, InFlight] = field(default_factory=dict)
    _free_rows: list[int] = field(init=False)
    _controls: dict[int, _ControlSlot] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._free_rows = list(range(self.num_rows))

    def try_admit(self, canvas: Canvas) -> InFlight | None:
        """Place a canvas with all its rows and control inputs, or leave everything as it was."""
        rows = canvas.rows()
        if len(rows) > len(self._free_rows):
            return None
        wanted = [self._control_key(canvas, row, 0) for row in rows]
        control = self._place_controls(wanted)
        if control is None:
            return None
        slot = next(i for i in range(self.num_rows) if i not in self.canvases)
        places = tuple(self._free_rows.pop(0) for _ in rows)
        flight = InFlight(canvas, slot, places, control)
        self.canvases[slot] = flight
        return flight

    def release(self, flight: InFlight) -> None:
        """Free a canvas's places."""
        del self.canvases[flight.slot]
        self._free_rows = sorted([*self._free_rows, *flight.rows])
        for place in flight.control:
            if place >= 0:
                self._controls[place].users -= 1
                if not self._controls[place].users:
                    del self._controls[place]

    def advance(self, flight: InFlight) -> None:
        """Move a canvas, and the control slots it uses, to its next step."""
        flight.step += 1
        for place, row in zip(flight.control, flight.canvas.rows(), strict=True):
            if place >= 0:
                self._controls[place].key = self._control_key(flight.canvas, row, flight.step) or ("", "", 0, 0)

    @staticmethod
    def _control_key(canvas: Canvas, row: Row, step: int) -> ControlKey | None:
        if canvas.condition is None:
            return None
        return canvas.condition.name, row.prompt.name, id(canvas.table), step

    def _place_controls(self, wanted: list[ControlKey | None]) -> tuple[int, ...] | None:
        """Control slots for the keys, sharing where a key stands already; None if they do not suffice."""
        standing = {slot.key: place for place, slot in self._controls.items()}
        free = [place for place in range(self.num_controls) if place not in self._controls]
        places: list[int] = []
        for key in wanted:
            if key is None:
                places.append(-1)
            elif key in standing:
                places.append(standing[key])
            elif free:
                standing[key] = free.pop(0)
                places.append(standing[key])
            else:
                return None
        for key, place in zip(wanted, places, strict=True):
            if key is not None:
                self._controls.setdefault(place, _ControlSlot(key, 0)).users += 1
        return tuple(places)
