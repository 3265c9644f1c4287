"""The document that is edited: condition maps, layers with prompts of their own, prompt and settings, with undo."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dentgen.errors import SpecError
from dentgen.records import CONDITION_NAMES, MAX_PAINTED, ConditionName, ConditionRecord, PaintedRegion
from dentgen.studio.planes import History, Plane, Rectangle, with_values
from dentgen.studio.settings import Settings

FDI: Final = "fdi"


@dataclass(frozen=True, slots=True)
class Layer:
    """A painted region of the document; its mask is the plane ``plane``.

    Attributes:
        number: Unique in the document, never given again.
        name: What the user calls it, unique in the document.
        prompt: Its prompt.
        negative_prompt: Likewise for guidance; "" takes that of the picture.
        strength, prompt_strength, blur: As of ``PaintedRegion``.
        visible: Whether it acts.
    """

    number: int
    name: str
    prompt: str
    negative_prompt: str = ""
    strength: float = 1.0
    prompt_strength: float = 1.0
    blur: float = 0.0
    visible: bool = True

    @property
    def plane(self) -> str:
        """Name of its mask among the document's planes."""
        return f"layer {self.number}"

    def region(self, mask: NDArray[np.uint8]) -> PaintedRegion:
        """As a region of a condition record."""
        return PaintedRegion(
            self.name, self.prompt, mask.astype(np.float32), self.negative_prompt or None, self.strength,
            self.prompt_strength, self.blur,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """The document at one moment; arrays are shared and never written to.

    Attributes:
        version: Number of changes up to it.
        record: Maps, prompt and metadata; its painted regions are the layers that are visible.
        layers: All layers, the lowest first.
        masks: (H, W) uint8, 0 or 1, of each layer by number.
        settings: The settings.
    """

    version: int
    record: ConditionRecord
    layers: tuple[Layer, ...]
    masks: Mapping[int, NDArray[np.uint8]]
    settings: Settings

    @property
    def regions(self) -> tuple[PaintedRegion, ...]:
        """All layers as painted regions, hidden ones too."""
        return tuple(layer.region(self.masks[layer.number]) for layer in self.layers)


#: What changed: rectangles of planes by name; "state" beside them if anything else may have.
Changed = Mapping[str, Rectangle]


class Work:
    """The document. Any thread may read or change it."""

    def __init__(self, record: ConditionRecord, settings: Settings) -> None:
        """Begin with a record that is fitted to the pictures' size."""
        self._lock = threading.RLock()
        self._listeners: list[Callable[[Changed], None]] = []
        self._version, self._numbers = 0, 0
        self.settings = settings
        self._take(record)

    def _take(self, record: ConditionRecord) -> None:
        self.base = self._record = record
        fdi = np.zeros(record.shape, np.uint8) if record.fdi is None else record.fdi
        self.planes: dict[str, Plane] = {name: record.conditions[name] for name in record.conditions}
        self.planes[FDI] = fdi
        self.layers = tuple(map(self._painted, record.painted))
        for plane in self.planes.values():
            plane.setflags(write=False)
        self._history = History()

    def _painted(self, region: PaintedRegion) -> Layer:
        """A layer of a painted region."""
        self._numbers += 1
        layer = Layer(
            self._numbers, region.name, region.prompt, region.negative_prompt or "", region.strength,
            region.prompt_strength, region.blur,
        )  # fmt: skip
        self.planes[layer.plane] = (region.mask >= 0.5).astype(np.uint8)
        return layer

    def listen(self, listener: Callable[[Changed], None]) -> None:
        """Call a function after every change, in the thread that made it."""
        self._listeners.append(listener)

    @property
    def version(self) -> int:
        """Number of changes so far."""
        return self._version

    @property
    def depth(self) -> tuple[int, int]:
        """Gestures that can be undone, and done again."""
        return self._history.depth

    @property
    def prompt(self) -> str:
        """Prompt of the picture."""
        return self._record.prompt

    def snapshot(self) -> Snapshot:
        """The document as it is."""
        with self._lock:
            names: list[ConditionName] = [name for name in CONDITION_NAMES if name in self.planes]
            conditions = {name: self.planes[name] for name in names}
            fdi = self.planes[FDI]
            empty = self.base.fdi is None and not fdi.any()
            masks = {layer.number: self.planes[layer.plane] for layer in self.layers}
            painted = tuple(layer.region(masks[layer.number]) for layer in self.layers if layer.visible)
            record = replace(self._record, conditions=conditions, fdi=None if empty else fdi, painted=painted)
            return Snapshot(self._version, record, self.layers, masks, self.settings)

    def open(self, record: ConditionRecord, settings: Settings | None = None) -> None:
        """Begin again with another record; settings stay unless others are given."""
        with self._lock:
            self._take(record)
            self.settings = self.settings if settings is None else settings
            self._changed({name: Rectangle.whole(plane) for name, plane in self.planes.items()})

    def change(self, gesture: str, parts: Mapping[str, tuple[Rectangle, Plane]]) -> None:
        """Change parts of planes.

        Args:
            gesture: What they belong to: changes of one gesture are undone together.
            parts: Rectangle and its new values, by plane.
        """
        with self._lock:
            known = {name: part for name, part in parts.items() if name in self.planes}
            self._history.touch(gesture, self.planes, known)
            for name, (where, values) in known.items():
                self.planes[name] = with_values(self.planes[name], where, values)
            self._changed({name: where for name, (where, _) in known.items()})

    def undo(self) -> None:
        """Take back the last gesture."""
        with self._lock:
            self._changed(self._history.undo(self.planes))

    def redo(self) -> None:
        """Do the last undone gesture again."""
        with self._lock:
            self._changed(self._history.redo(self.planes))

    def set(self, *, prompt: str | None = None, settings: Settings | None = None) -> None:
        """Set the prompt, the settings, or both."""
        with self._lock:
            self._record = self._record if prompt is None else replace(self._record, prompt=prompt)
            self.settings = self.settings if settings is None else settings
            self._changed({})

    def add_layer(self, name: str, prompt: str) -> Layer:
        """Add an empty layer above all others.

        Raises:
            SpecError: If there are as many as there may be, or one has this name.
        """
        with self._lock:
            if len(self.layers) >= MAX_PAINTED:
                raise SpecError(key="layers", found=len(self.layers) + 1, expected=f"at most {MAX_PAINTED}")
            self._require_free(name, 0)
            self._numbers += 1
            layer = Layer(self._numbers, name or self._free_name(), prompt)
            self.layers = (*self.layers, layer)
            self.planes[layer.plane] = np.zeros(self.base.shape, np.uint8)
            self._changed({layer.plane: Rectangle.whole(self.planes[layer.plane])})
            return layer

    def change_layer(self, number: int, **values: Any) -> None:
        """Change fields of a layer.

        Raises:
            SpecError: If there is none of this number, or another one has this name.
        """
        with self._lock:
            self.layer(number)
            self._require_free(values.get("name", ""), number)
            self.layers = tuple(replace(each, **values) if each.number == number else each for each in self.layers)
            self._changed({})

    def remove_layer(self, number: int) -> None:
        """Remove a layer with its mask.

        Raises:
            SpecError: If there is none of this number.
        """
        with self._lock:
            layer = self.layer(number)
            self._history.close(self.planes)
            self.layers = tuple(each for each in self.layers if each is not layer)
            del self.planes[layer.plane]
            self._changed({})

    def move_layer(self, number: int, by: int) -> None:
        """Move a layer up (1) or down (-1) among the others.

        Raises:
            SpecError: If there is none of this number.
        """
        with self._lock:
            layer = self.layer(number)
            others = [each for each in self.layers if each is not layer]
            others.insert(max(0, self.layers.index(layer) + by), layer)
            self.layers = tuple(others)
            self._changed({})

    def layer(self, number: int) -> Layer:
        """A layer by its number.

        Raises:
            SpecError: If there is none.
        """
        for layer in self.layers:
            if layer.number == number:
                return layer
        raise SpecError(key="layer", found=number, expected=f"one of {[layer.number for layer in self.layers]}")

    def _require_free(self, name: str, number: int) -> None:
        if any(layer.name == name and layer.number != number for layer in self.layers):
            raise SpecError(key="name", found=f"a region named {name}", expected="another name")

    def _free_name(self) -> str:
        names = {layer.name for layer in self.layers}
        return next(name for n in range(1, MAX_PAINTED + 2) if (name := f"region {n}") not in names)

    def _changed(self, what: Changed) -> None:
        self._version += 1
        for listener in self._listeners:
            listener(what)
