"""Updates of a running canvas: new values of one of its layers, and the queue in which they wait for the next tick."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

from jaxtyping import Float
from torch import Tensor

from dentgen.diffusion.canvas import Canvas
from dentgen.diffusion.keyed_tensor import KeyedTensor
from dentgen.errors import CanvasError


@dataclass(frozen=True, slots=True, eq=False)
class LayerUpdate:
    """New values of one layer; None keeps what is there.

    Attributes:
        layer: 0 for the canvas's own prompt, n for its n-th region.
        prompt: Embeddings (tokens, width).
        mask: (h, w) float32 in 0..1, of a region.
        strength: Factor on the mask of a region, 0..1.
        prompt_strength: Interpolation from the canvas's own prompt, 0, to the region's, 1.
    """

    layer: int = 0
    prompt: KeyedTensor | None = None
    mask: Float[Tensor, "h w"] | None = None
    strength: float | None = None
    prompt_strength: float | None = None

    def applied(self, canvas: Canvas) -> Canvas:
        """The canvas with these values; it has as many rows as before.

        Raises:
            CanvasError: If there is no such layer, or the canvas's own prompt is given what regions have.
        """
        changes = {
            name: value
            for name in ("prompt", "mask", "strength", "prompt_strength")
            if (value := getattr(self, name)) is not None
        }
        regions = canvas.layers.regions
        if not 0 <= self.layer <= len(regions):
            raise CanvasError("layer", key=canvas.key, found=self.layer, expected=f"0 to {len(regions)}")
        if self.layer:
            changed = replace(regions[self.layer - 1], **changes)
            others = (*regions[: self.layer - 1], changed, *regions[self.layer :])
            return replace(canvas, layers=replace(canvas.layers, regions=others))
        if wrong := sorted(changes.keys() - {"prompt"}):
            raise CanvasError("update of layer 0", key=canvas.key, found=wrong, expected="prompt alone: it has no mask")
        return replace(canvas, **changes)


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
