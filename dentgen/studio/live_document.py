"""A live canvas that follows a document: it is told what changed, and begins again only where it must."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from dentgen.generation.generator import Generator, build_generator
from dentgen.generation.live import LiveCanvas, LiveFrame
from dentgen.generation.live_layers import BACKGROUND, LiveLayer
from dentgen.generation.threads import torch_threads
from dentgen.spec.build import BuildSpec
from dentgen.studio.planes import Plane
from dentgen.studio.work import Layer, Snapshot


@dataclass(frozen=True, slots=True, eq=False)
class LivePicture:
    """A picture, and the document that its first step saw: (H, W, 3) uint8."""

    picture: NDArray[np.uint8]
    snapshot: Snapshot


@dataclass(slots=True)
class _Running:
    """A canvas and what it was told.

    Attributes:
        canvas, frames: The canvas and its pictures.
        start: What it was started with and cannot change.
        told: The document as of the last edit.
        pending: Edits that may not act yet, with the document that they bring.
        shown: The last document whose edits are known to act.
        alike: Pictures since then, which are all the same if the noise is.
    """

    canvas: LiveCanvas
    frames: Iterator[LiveFrame]
    start: tuple[object, ...]
    told: Snapshot
    pending: list[tuple[Future[int], Snapshot]]
    shown: Snapshot
    alike: int = 0


class LiveDocument:
    """Makes a document's next picture. One thread at a time may use it."""

    def __init__(self, generator: Generator, tell: Callable[[Exception | None], None]) -> None:
        """Take loaded models.

        Args:
            generator: The models.
            tell: Called with errors of edits that were not taken over, such as a prompt that is too long.
        """
        self._generator, self._tell = generator, tell
        self._running: _Running | None = None

    def next_picture(self, snapshot: Snapshot) -> LivePicture | None:
        """The next picture; None if it would be the same as the last one.

        Raises:
            DentgenError: If the document cannot be shown.
        """
        running = self._following(snapshot)
        if snapshot.settings.locked and running.alike > 1 and not running.pending:
            return None
        frame = next(running.frames)
        while running.pending and running.pending[0][0].done():
            told, document = running.pending[0]
            failed = told.cancelled() or told.exception() is not None
            if not failed and told.result() > frame.first_version:
                break  # this picture had begun before
            running.pending.pop(0)
            running.shown, running.alike = document, 0
        running.alike += 1
        return LivePicture(frame.picture, running.shown)

    def close(self) -> None:
        """Stop; the next picture begins again."""
        if self._running is not None:
            self._running.canvas.close()
        self._running = None

    def _following(self, snapshot: Snapshot) -> _Running:
        """The canvas, told what has changed."""
        if self._running is not None and self._running.told.version == snapshot.version:
            return self._running
        spec = snapshot.settings.build_spec(self._generator.spec)
        start = _start(snapshot, spec)
        if self._running is None or self._running.start != start:
            self.close()
            self._running = self._started(snapshot, spec, start)
        else:
            self._edit(self._running, snapshot)
        return self._running

    def _started(self, snapshot: Snapshot, spec: BuildSpec, start: tuple[object, ...]) -> _Running:
        with torch_threads(spec.engine.threads):
            generator = build_generator(spec, self._generator.bundle)
        layers = [_live_layer(layer, snapshot) for layer in snapshot.layers]
        canvas = LiveCanvas(
            generator, snapshot.record.prompt, layers, regions=len(layers), record=snapshot.record,
            seed=snapshot.settings.seed, advance=not snapshot.settings.locked,
        )  # fmt: skip
        return _Running(canvas, canvas.frames(), start, snapshot, [], snapshot)

    def _edit(self, running: _Running, snapshot: Snapshot) -> None:
        told, canvas = running.told, running.canvas
        edits: list[Future[int]] = []
        if told.record.prompt != snapshot.record.prompt:
            edits.append(canvas.edit(BACKGROUND, prompt=snapshot.record.prompt))
        before = {layer.number: layer for layer in told.layers}
        for layer in snapshot.layers:
            edits += _layer_edits(canvas, before[layer.number], layer, told, snapshot)
        for edit in edits:
            edit.add_done_callback(partial(_tell_failure, self._tell))
        running.told = snapshot
        running.pending += [(edit, snapshot) for edit in edits]
        if not edits:  # something that pictures do not show
            running.shown = snapshot if not running.pending else running.shown


def _start(snapshot: Snapshot, spec: BuildSpec) -> tuple[object, ...]:
    """What a canvas cannot change: settings, the layers that there are, and the maps."""
    settings = snapshot.settings
    maps = tuple((name, id(plane)) for name, plane in snapshot.record.conditions.items())
    return spec.digest(), settings.seed, settings.locked, tuple(each.number for each in snapshot.layers), maps


def _live_layer(layer: Layer, snapshot: Snapshot) -> LiveLayer:
    mask = snapshot.masks[layer.number].astype(np.float32)
    strength = layer.strength if layer.visible else 0.0
    return LiveLayer(str(layer.number), layer.prompt, mask, strength, layer.prompt_strength, layer.blur)


def _layer_edits(
    canvas: LiveCanvas, before: Layer, layer: Layer, told: Snapshot, snapshot: Snapshot
) -> Iterator[Future[int]]:
    old, new = _live_layer(before, told), _live_layer(layer, snapshot)
    masks: list[Plane] = [told.masks[layer.number], snapshot.masks[layer.number]]
    if masks[0] is not masks[1] or old.blur != new.blur:
        yield canvas.edit(new.name, mask=new.mask, blur=new.blur)
    if old.prompt != new.prompt:
        yield canvas.edit(new.name, prompt=new.prompt)
    if (old.strength, old.prompt_strength) != (new.strength, new.prompt_strength):
        yield canvas.edit(new.name, strength=new.strength, prompt_strength=new.prompt_strength)


def _tell_failure(tell: Callable[[Exception | None], None], edit: Future[int]) -> None:
    error = None if edit.cancelled() else edit.exception()
    if isinstance(error, Exception):
        tell(error)
