"""The layers of a live canvas by name, and the edits of them and of control that wait for the next tick."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dentgen.diffusion.keyed_tensor import KeyedTensor
from dentgen.diffusion.layer_update import LayerUpdate
from dentgen.diffusion.regions import Region
from dentgen.errors import CanvasError, EngineError
from dentgen.generation.live_control import ControlState, ControlValues
from dentgen.generation.live_layers import BACKGROUND, LayerState, LayerValues, PaintedMask
from dentgen.generation.regions import visible_shares


class NewOrder:
    """An edit of the order of the layers, which their names hold."""


Values = LayerValues | ControlValues | NewOrder


@dataclass(frozen=True, slots=True, eq=False)
class Edit:
    """An edit whose values are ready.

    Attributes:
        number: Its place among all edits that were asked for.
        layer: Whose values they are: 0 for the background, or the layer's number; of control or order, 0.
        values: The new values.
        applied: Resolves to the version that shows it.
    """

    number: int
    layer: int
    values: Values
    applied: Future[int]


class LiveLayers:
    """Layers, control and waiting edits. Any thread may ask for edits; one thread applies them.

    Attributes:
        version: Number of edits that have been applied.
        control: What controls the pictures, from the next tick on.
    """

    def __init__(self, own: KeyedTensor, nothing: PaintedMask, most: int, control: ControlState) -> None:
        """Start with a background alone.

        Args:
            own: Embeddings of its prompt.
            nothing: An empty mask.
            most: Layers that there may be at once.
            control: What controls the first pictures.
        """
        self.version, self.control = 0, control
        self._nothing = nothing
        self._layers = [LayerState(own, nothing) for _ in range(1 + most)]
        self._names: dict[str, int] = {}
        self._given: dict[str, int] = {}
        self._shown: dict[str, int] = {}
        self._visible = self._masks_seen()
        self._ready: list[Edit] = []
        self._asked, self._is_closed = 0, False
        self._lock = threading.RLock()

    @property
    def prompt(self) -> KeyedTensor:
        """Embeddings of the background's prompt."""
        return self._layers[0].prompt

    def regions(self) -> tuple[Region, ...]:
        """All layers, used or not, as regions of a canvas; each is covered by those above it."""
        shares = self._shares()
        return tuple(layer.region(shares[number]) for number, layer in enumerate(self._layers[1:], 1))

    def masks(self) -> dict[str, NDArray[np.float32]]:
        """Mask (H, W) of every layer by name, the lowest first, as of the last ``apply``."""
        return {name: self._layers[number].mask.pixels for name, number in self._shown.items()}

    @property
    def names(self) -> list[str]:
        """Names of the layers, the lowest first."""
        with self._lock:
            return list(self._names)

    def number(self, name: str) -> int:
        """Number of a layer, 0 for the background.

        Raises:
            CanvasError: If there is none of this name.
        """
        with self._lock:
            if name == BACKGROUND:
                return 0
            if name not in self._names:
                raise CanvasError(key=name, found="no layer of this name", expected=[BACKGROUND, *self._names])
            return self._names[name]

    def add(self, name: str) -> int:
        """Give a free layer, the lowest number, a name.

        Raises:
            CanvasError: If the name is taken, or there are as many layers as there may be.
        """
        with self._lock:
            if name == BACKGROUND or name in self._names:
                raise CanvasError(key=name, found="a layer of this name", expected="another name")
            used = set(self._names.values())
            free = next((number for number in range(1, len(self._layers)) if number not in used), None)
            if free is None:
                raise CanvasError(key=name, found=f"{len(used) + 1} layers", expected=f"at most {len(used)}")
            self._names[name] = free
            self._given[name] = self._given.get(name, 0) + 1
            return free

    def times_given(self, name: str) -> int:
        """How often a layer was given this name: a name that was taken back may be another layer's now."""
        with self._lock:
            return self._given.get(name, 0)

    def forget(self, name: str, times_given: int) -> None:
        """Take the name from a layer again, unless it was taken, and given once more, meanwhile."""
        with self._lock:
            if self._given.get(name) == times_given:
                self._names.pop(name, None)

    def remove(self, name: str) -> Future[int]:
        """Empty a layer and take its name.

        Returns:
            The version that shows it.

        Raises:
            CanvasError: If there is no such layer.
            EngineError: If the canvas is closed.
        """
        with self._lock:  # together, so that no frame lacks the mask of a layer that it shows
            number = self.number(name)
            if not number:
                raise CanvasError(key=name, found="the background", expected="a layer")
            removed = self.edit(number, LayerValues(mask=self._nothing))
            del self._names[name]
            return removed

    def arrange(self, names: Sequence[str]) -> Future[int]:
        """Bring the layers into another order.

        Args:
            names: Names of all layers, the lowest first.

        Returns:
            The version that shows it.

        Raises:
            CanvasError: If they are not those of the layers.
            EngineError: If the canvas is closed.
        """
        with self._lock:
            if sorted(names) != sorted(self._names):
                raise CanvasError("order of layers", found=list(names), expected=f"each of {list(self._names)} once")
            arranged = self.edit(0, NewOrder())
            self._names = {name: self._names[name] for name in names}
            return arranged

    def next_place(self) -> int:
        """Place of an edit that is being asked for among all edits.

        Raises:
            EngineError: If the canvas is closed.
        """
        with self._lock:
            if self._is_closed:
                raise closed_error()
            self._asked += 1
            return self._asked

    def edit(self, number: int, values: Values) -> Future[int]:
        """Queue an edit whose values are ready.

        Args:
            number: The layer's number; 0 for values of control or order.
            values: The new values.

        Returns:
            The version that shows it.

        Raises:
            EngineError: If the canvas is closed.
        """
        with self._lock:
            edit = Edit(self.next_place(), number, values, Future())
            self._ready.append(edit)
        return edit.applied

    def put(self, edit: Edit) -> None:
        """Queue an edit that was asked for earlier."""
        with self._lock:
            self._ready.append(edit)
            if self._is_closed:
                self._fail()

    def apply(self) -> list[LayerUpdate]:
        """Apply all edits that are ready; returns what canvases in flight must be told, in order."""
        with self._lock:
            edits, self._ready, self._shown = self._ready, [], dict(self._names)
        updates: list[LayerUpdate] = []
        for edit in edits:
            if not edit.applied.set_running_or_notify_cancel():
                continue
            self.version += self._take_over(edit, updates)
            edit.applied.set_result(self.version)
        return updates + self._mask_updates() if edits else []

    def _take_over(self, edit: Edit, updates: list[LayerUpdate]) -> bool:
        """Take over values and append what canvases in flight must be told; returns whether any of them counts."""
        if isinstance(edit.values, NewOrder):
            return True
        if isinstance(edit.values, ControlValues):
            if not self.control.apply(edit.number, edit.values):
                return False
            updates.append(LayerUpdate(controls=self.control.canvas.controls))
            return True
        newer = self._layers[edit.layer].apply(edit.number, edit.values)
        if told := {name: value for name, value in newer.items() if name != "mask"}:
            updates.append(LayerUpdate(edit.layer, **told))
        return bool(newer)

    def _mask_updates(self) -> list[LayerUpdate]:
        """New masks of all layers whose mask, or what covers it, has changed."""
        before, self._visible = self._visible, self._masks_seen()
        pairs = zip(before, self._visible, strict=True)
        return [LayerUpdate(n, mask=now) for n, (old, now) in enumerate(pairs, 1) if not torch.equal(old, now)]

    def _masks_seen(self) -> list[Tensor]:
        return [region.mask for region in self.regions()]

    def _shares(self) -> dict[int, Tensor]:
        """How much of every layer those above it leave, by number; layers without a name are empty, and lowest."""
        named = list(self._shown.values())
        order = [number for number in range(1, len(self._layers)) if number not in named] + named
        shares = visible_shares([self._layers[number].scaled for number in order])
        return dict(zip(order, shares, strict=True))

    def close(self) -> None:
        """Let edits that wait fail, and all later ones."""
        with self._lock:
            self._is_closed = True
            self._fail()

    def _fail(self) -> None:
        edits, self._ready = self._ready, []
        for edit in edits:
            if edit.applied.set_running_or_notify_cancel():
                edit.applied.set_exception(closed_error())


def closed_error() -> EngineError:
    """What edits of a closed canvas end with."""
    return EngineError("the live canvas is closed")
