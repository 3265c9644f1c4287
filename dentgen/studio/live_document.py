"""A live canvas that follows a document: it is told what changed, and begins again only where it must."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from dentgen.generation.generator import Generator, build_generator
from dentgen.generation.live import LiveCanvas
from dentgen.generation.live_frames import LiveFrame
from dentgen.generation.live_layers import BACKGROUND, LiveLayer
from dentgen.generation.threads import torch_threads
from dentgen.spec.build import BuildSpec
from dentgen.studio.work import Layer, Snapshot


@dataclass(frozen=True, slots=True, eq=False)
class LivePicture:
    """A picture.

    Attributes:
        picture: (H, W, 3) uint8.
        snapshot: The document that its first step saw.
        latest: The document that its last step saw.
    """

    picture: NDArray[np.uint8]
    snapshot: Snapshot
    latest: Snapshot


@dataclass(slots=True)
class _Running:
    """A canvas and what it was told.

    Attributes:
        canvas, frames: The canvas and its pictures.
        start: What it was started with and cannot change.
        told: The document as of the last edits.
        shown: The last document whose edits are known to act.
        pending: Edits that may not act yet, with the document that they bring.
        alike: Pictures since ``shown`` began to act, which are all the same if their noise is.
    """

    canvas: LiveCanvas
    frames: Iterator[LiveFrame]
    start: tuple[object, ...]
    told: Snapshot
    shown: Snapshot
    pending: list[tuple[Future[int], Snapshot]] = field(default_factory=list)
    alike: int = 0

    @property
    def behind(self) -> bool:
        """Whether edits of two documents wait for their values.

        Maps and prompts take a moment to encode. While one document's are encoded the next one's may wait, so that the
        end of a stroke does not wait for a tick first; of those that come meanwhile only the latest is asked for.
        """
        return len({document.version for edit, document in self.pending if not edit.done()}) > 1

    def seen_by(self, version: int) -> Snapshot:
        """The last document all of whose edits act in that version, or failed."""
        seen, waiting = self.shown, [document for edit, document in self.pending if not _acts(edit, version)]
        for _, document in self.pending:
            if any(document is each for each in waiting):
                break
            seen = document
        return seen

    def note(self, frame: LiveFrame) -> None:
        """Take notice of the edits that a picture has seen from its first step on."""
        seen = self.seen_by(frame.first_version)
        if seen is not self.shown:
            self.shown, self.alike = seen, 0
        self.pending = [each for each in self.pending if not _acts(each[0], frame.first_version)]
        self.alike += 1


class LiveDocument:
    """Makes a document's next picture. One thread at a time may use it."""

    def __init__(self, generator: Generator, tell: Callable[[Exception | None], None]) -> None:
        """Take loaded models.

        Args:
            generator: The models.
            tell: Called with errors of edits that were not taken over, such as a prompt that is too long, and with None
                once there are none any more; also in other threads.
        """
        self._generator, self._tell = generator, tell
        self._running: _Running | None = None
        self._failures: dict[str, Exception] = {}

    def next_picture(self, snapshot: Snapshot) -> LivePicture | None:
        """The next picture; None if it would be the same as the last one.

        Raises:
            DentgenError: If the document cannot be shown.
        """
        running = self._following(snapshot)
        if snapshot.settings.locked and running.alike > 1 and not running.pending:
            return None
        frame = next(running.frames)
        latest = running.seen_by(frame.last_version)
        running.note(frame)
        return LivePicture(frame.picture, running.shown, latest)

    def close(self) -> None:
        """Stop; the next picture begins again."""
        if self._running is not None:
            self._running.canvas.close()
        self._running = None
        self._failures.clear()

    def _following(self, snapshot: Snapshot) -> _Running:
        """The canvas, told what has changed."""
        running = self._running
        if running is not None and (running.told.version == snapshot.version or running.behind):
            return running
        spec = snapshot.settings.build_spec(self._generator.spec)
        start = _start(snapshot, spec)
        if running is None or running.start != start:
            self.close()
            self._running = running = self._started(snapshot, spec, start)
        else:
            self._edit(running, snapshot)
        return running

    def _started(self, snapshot: Snapshot, spec: BuildSpec, start: tuple[object, ...]) -> _Running:
        with torch_threads(spec.engine.threads):
            generator = build_generator(spec, self._generator.bundle)
        layers = [_live_layer(layer, snapshot) for layer in snapshot.layers]
        canvas = LiveCanvas(
            generator, snapshot.record.prompt, layers, regions=len(layers), record=snapshot.record,
            seed=snapshot.settings.seed, advance=not snapshot.settings.locked,
        )  # fmt: skip
        return _Running(canvas, canvas.frames(), start, told=snapshot, shown=snapshot)

    def _edit(self, running: _Running, snapshot: Snapshot) -> None:
        for what, edit in _edits(running.canvas, running.told, snapshot):
            running.pending.append((edit, snapshot))
            edit.add_done_callback(partial(self._edited, what))
        running.told = snapshot
        if not running.pending:  # something that pictures do not show
            running.shown = snapshot

    def _edited(self, what: str, edit: Future[int]) -> None:
        """Tell of an edit that failed, until another edit of the same thing does not."""
        error = None if edit.cancelled() else edit.exception()
        if isinstance(error, Exception):
            self._failures[what] = error
            self._tell(error)
        elif self._failures.pop(what, None) is not None:
            self._tell(next(iter(self._failures.values()), None))


def _acts(edit: Future[int], version: int) -> bool:
    """Whether an edit acts in a version, or never will."""
    if not edit.done():
        return False
    return edit.cancelled() or edit.exception() is not None or edit.result() <= version


def _start(snapshot: Snapshot, spec: BuildSpec) -> tuple[object, ...]:
    """What a canvas cannot change: settings but for scales of adapters, and which layers there are, in what order."""
    settings = snapshot.settings
    fixed = {name: 1.0 if isinstance(scale, float) else scale for name, scale in spec.model.adapters.items()}
    model = spec.model.model_copy(update={"adapters": fixed})
    digest = spec.model_copy(update={"model": model}).digest()
    return digest, settings.seed, settings.locked, tuple(each.number for each in snapshot.layers)


def _edits(canvas: LiveCanvas, old: Snapshot, new: Snapshot) -> Iterator[tuple[str, Future[int]]]:
    """Ask for what differs between two documents; yields what each edit is of."""
    if old.record.prompt != new.record.prompt:
        yield "prompt", canvas.edit(BACKGROUND, prompt=new.record.prompt)
    if _maps_differ(old, new):
        yield "maps", canvas.show(new.record)
    scales = _changed_scales(old, new)
    if scales:
        yield "scales", canvas.adapt(scales)
    before = {layer.number: layer for layer in old.layers}
    for layer in new.layers:
        yield from _layer_edits(canvas, (before[layer.number], old), (layer, new))


def _maps_differ(old: Snapshot, new: Snapshot) -> bool:
    """Whether any map does; they are never written to, so identity tells."""
    before, after = old.record.conditions, new.record.conditions
    same = before.keys() == after.keys() and all(before[name] is after[name] for name in before)
    return not same or old.record.key != new.record.key


def _changed_scales(old: Snapshot, new: Snapshot) -> dict[str, float]:
    before = old.settings.adapters
    scales = new.settings.adapters.items()
    return {name: scale for name, scale in scales if isinstance(scale, float) and before.get(name) != scale}


def _live_layer(layer: Layer, snapshot: Snapshot) -> LiveLayer:
    mask = snapshot.masks[layer.number].astype(np.float32)
    strength = layer.strength if layer.visible else 0.0
    return LiveLayer(
        str(layer.number), layer.prompt, mask, strength, layer.prompt_strength, layer.blur, layer.negative_prompt
    )


def _layer_edits(
    canvas: LiveCanvas, old: tuple[Layer, Snapshot], new: tuple[Layer, Snapshot]
) -> Iterator[tuple[str, Future[int]]]:
    before, after = _live_layer(*old), _live_layer(*new)
    number = new[0].number
    if old[1].masks[number] is not new[1].masks[number] or before.blur != after.blur:
        yield f"mask {number}", canvas.edit(after.name, mask=after.mask, blur=after.blur)
    if before.prompt != after.prompt:
        yield f"prompt {number}", canvas.edit(after.name, prompt=after.prompt)
    if before.negative != after.negative:
        yield f"negative prompt {number}", canvas.edit(after.name, negative=after.negative)
    if (before.strength, before.prompt_strength) != (after.strength, after.prompt_strength):
        yield (
            f"strength {number}",
            canvas.edit(after.name, strength=after.strength, prompt_strength=after.prompt_strength),
        )
