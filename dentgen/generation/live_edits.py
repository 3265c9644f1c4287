"""The layers of a live canvas by name, and the edits of them that wait for the next tick."""

from __future__ import annotations

import threading
from concurrent.futures import Future

import numpy as np
from numpy.typing import NDArray

from dentgen.diffusion.keyed_tensor import KeyedTensor
from dentgen.diffusion.layer_update import LayerUpdate
from dentgen.diffusion.regions import Region
from dentgen.errors import CanvasError, EngineError
from dentgen.generation.live_layers import BACKGROUND, Edit, LayerState, LayerValues, PaintedMask


class LiveLayers:
    """Layers and waiting edits. Any thread may ask for edits; one thread applies them.

    Attributes:
        version: Number of edits that have been applied.
    """

    def __init__(self, own: KeyedTensor, nothing: PaintedMask, most: int) -> None:
        """Start with a background alone.

        Args:
            own: Embeddings of its prompt.
            nothing: An empty mask.
            most: Layers that there may be at once.
        """
        self.version = 0
        self._nothing = nothing
        self._layers = [LayerState(own, nothing) for _ in range(1 + most)]
        self._names: dict[str, int] = {}
        self._shown: dict[str, int] = {}
        self._ready: list[Edit] = []
        self._asked, self._is_closed = 0, False
        self._lock = threading.RLock()

    @property
    def prompt(self) -> KeyedTensor:
        """Embeddings of the background's prompt."""
        return self._layers[0].prompt

    def regions(self) -> tuple[Region, ...]:
        """All layers, used or not, as regions of a canvas."""
        return tuple(layer.region() for layer in self._layers[1:])

    def masks(self) -> dict[str, NDArray[np.float32]]:
        """Mask (H, W) of every layer by name, the lowest first, as of the last ``apply``."""
        return {name: self._layers[number].mask.pixels for name, number in self._shown.items()}

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
            return free

    def forget(self, name: str, number: int) -> None:
        """Take the name from a layer again, if it still has it."""
        with self._lock:
            if self._names.get(name) == number:
                del self._names[name]

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
            self.forget(name, number)
            return removed

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

    def edit(self, number: int, values: LayerValues) -> Future[int]:
        """Queue an edit whose values are ready.

        Args:
            number: The layer's number.
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
            update = self._layers[edit.layer].apply(edit)
            if update is not None:
                self.version += 1
                updates.append(update)
            edit.applied.set_result(self.version)
        return updates

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
