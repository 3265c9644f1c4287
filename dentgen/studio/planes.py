"""Rectangles of maps, and the undo stack of what changed in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[Any]
#: Gestures that can be undone.
_DEPTH: Final = 100


@dataclass(frozen=True, slots=True)
class Rectangle:
    """Rows ``top`` to ``bottom`` and columns ``left`` to ``right`` of a map, ends excluded."""

    top: int
    left: int
    bottom: int
    right: int

    @classmethod
    def whole(cls, plane: Plane) -> Self:
        """All of a map."""
        return cls(0, 0, plane.shape[0], plane.shape[1])

    @classmethod
    def around(cls, mask: NDArray[np.bool_]) -> Self | None:
        """The smallest one around what a mask (H, W) has; None if it is empty."""
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if not rows.size:
            return None
        return cls(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)

    @property
    def window(self) -> tuple[slice, slice]:
        """As an index of arrays."""
        return slice(self.top, self.bottom), slice(self.left, self.right)


@dataclass(frozen=True, slots=True, eq=False)
class _Patch:
    """What changed in one map: the smallest rectangle, before and after."""

    where: Rectangle
    before: Plane
    after: Plane


@dataclass(slots=True)
class History:
    """Gestures that can be undone and done again, each as the rectangles that it changed.

    Attributes:
        done: Closed gestures, the oldest first.
        undone: Gestures that were undone, the next to be done again last.
    """

    done: list[dict[str, _Patch]] = field(default_factory=list)
    undone: list[dict[str, _Patch]] = field(default_factory=list)
    _gesture: str = ""
    _before: dict[str, Plane] = field(default_factory=dict)

    def touch(self, gesture: str, planes: Mapping[str, Plane], names: Mapping[str, Any]) -> None:
        """Remember maps before a gesture changes them; another gesture closes the one before.

        Args:
            gesture: Its name; changes of one name are undone together.
            planes: All maps as they are.
            names: Those that are about to change.
        """
        if gesture != self._gesture:
            self.close(planes)
            self._gesture = gesture
        self.undone.clear()
        for name in names:
            self._before.setdefault(name, planes[name])

    def close(self, planes: Mapping[str, Plane]) -> None:
        """End the open gesture, if there is one; of its maps only what differs is kept."""
        patches = {name: _patch(before, planes[name]) for name, before in self._before.items() if name in planes}
        kept = {name: patch for name, patch in patches.items() if patch is not None}
        self._gesture, self._before = "", {}
        if kept:
            self.done = [*self.done[-(_DEPTH - 1) :], kept]

    def undo(self, planes: dict[str, Plane]) -> dict[str, Rectangle]:
        """Take back the last gesture; returns what changed."""
        self.close(planes)
        if not self.done:
            return {}
        self.undone.append(self.done.pop())
        return _restore(planes, {name: (patch.where, patch.before) for name, patch in self.undone[-1].items()})

    def redo(self, planes: dict[str, Plane]) -> dict[str, Rectangle]:
        """Do the last undone gesture again; returns what changed."""
        self.close(planes)
        if not self.undone:
            return {}
        self.done.append(self.undone.pop())
        return _restore(planes, {name: (patch.where, patch.after) for name, patch in self.done[-1].items()})

    @property
    def depth(self) -> tuple[int, int]:
        """Gestures that can be undone, and done again."""
        return len(self.done) + bool(self._before), len(self.undone)


def with_values(plane: Plane, where: Rectangle, values: Plane) -> Plane:
    """A copy with other values in a rectangle, which nobody can write to: threads share it."""
    changed = plane.copy()
    changed[where.window] = values
    changed.setflags(write=False)
    return changed


def _patch(before: Plane, after: Plane) -> _Patch | None:
    differs = before != after
    where = Rectangle.around(differs if differs.ndim == 2 else differs.any(-1))
    if where is None:
        return None
    return _Patch(where, before[where.window].copy(), after[where.window].copy())


def _restore(planes: dict[str, Plane], values: Mapping[str, tuple[Rectangle, Plane]]) -> dict[str, Rectangle]:
    changed: dict[str, Rectangle] = {}
    for name, (where, part) in values.items():
        if name in planes:  # a layer may be gone
            planes[name], changed[name] = with_values(planes[name], where, part), where
    return changed
