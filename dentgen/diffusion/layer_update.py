"""Updates of a running canvas: new values of one of its layers or of its control, and the queue of those that wait."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Collection
from concurrent.futures import Future
from dataclasses import dataclass, field, fields, replace
from typing import Final

from jaxtyping import Float
from torch import Tensor

from dentgen.diffusion.canvas import Canvas, ControlInput
from dentgen.diffusion.keyed_tensor import KeyedTensor
from dentgen.errors import CanvasError

#: What the canvas itself has, and what its regions have.
_OF_CANVAS: Final = frozenset({"prompt", "controls"})
_OF_REGIONS: Final = frozenset({"prompt", "mask", "strength", "prompt_strength", "negative"})


@dataclass(frozen=True, slots=True, eq=False)
class LayerUpdate:
    """New values of one layer; None keeps what is there.

    Attributes:
        layer: 0 for the canvas's own prompt, n for its n-th region.
        prompt: Embeddings (tokens, width).
        mask: (h, w) float32 in 0..1, of a region.
        strength: Factor on the mask of a region, 0..1.
        prompt_strength: Interpolation from the canvas's own prompt, 0, to the region's, 1.
        negative: Embeddings of the negative prompt of a region.
        controls: Control inputs in place of the canvas's; of layer 0.
    """

    layer: int = 0
    prompt: KeyedTensor | None = None
    mask: Float[Tensor, "h w"] | None = None
    strength: float | None = None
    prompt_strength: float | None = None
    negative: KeyedTensor | None = None
    controls: tuple[ControlInput, ...] | None = None

    def applied(self, canvas: Canvas) -> Canvas:
        """The canvas with these values; it has as many rows as before.

        Raises:
            CanvasError: If there is no such layer, or layer 0 is given what regions have, or the other way round.
        """
        values = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "layer"}
        changes = {name: value for name, value in values.items() if value is not None}
        self._check(canvas, changes.keys())
        regions = canvas.layers.regions
        if self.layer:
            changed = replace(regions[self.layer - 1], **changes)
            others = (*regions[: self.layer - 1], changed, *regions[self.layer :])
            return replace(canvas, layers=replace(canvas.layers, regions=others))
        return replace(canvas, **changes)

    def _check(self, canvas: Canvas, given: Collection[str]) -> None:
        regions = len(canvas.layers.regions)
        if not 0 <= self.layer <= regions:
            raise CanvasError("layer", key=canvas.key, found=self.layer, expected=f"0 to {regions}")
        mine = _OF_REGIONS if self.layer else _OF_CANVAS
        if wrong := sorted(set(given) - mine):
            raise CanvasError(f"update of layer {self.layer}", key=canvas.key, found=wrong, expected=sorted(mine))


@dataclass(frozen=True, slots=True, eq=False)
class PendingUpdate:
    """An update that waits for a tick.

    Attributes:
        key: The canvas's.
        update: The new values.
        applied: Resolves to the first step that they act on, or to the error that kept them out.
    """

    key: str
    update: LayerUpdate
    applied: Future[int] = field(default_factory=Future)


class UpdateQueue:
    """Updates in the order in which they were asked for; any thread may add some."""

    def __init__(self) -> None:
        """Start empty."""
        self._pending: deque[PendingUpdate] = deque()
        self._lock = threading.Lock()

    def put(self, pending: PendingUpdate) -> None:
        """Add an update."""
        with self._lock:
            self._pending.append(pending)

    def take(self) -> list[PendingUpdate]:
        """Remove and return all updates that nobody has cancelled."""
        with self._lock:
            taken = list(self._pending)
            self._pending.clear()
        return [pending for pending in taken if pending.applied.set_running_or_notify_cancel()]

    def fail(self, error: Exception) -> None:
        """Let all updates fail."""
        for pending in self.take():
            pending.applied.set_exception(error)
