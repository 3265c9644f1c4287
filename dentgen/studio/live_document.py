"""A live canvas that follows a document: it is told what changed, and another one takes over where it must."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dentgen.errors import DentgenError
from dentgen.generation.generator import Generator, build_generator
from dentgen.generation.live import LiveCanvas
from dentgen.generation.live_frames import LiveFrame
from dentgen.generation.threads import torch_threads
from dentgen.spec.build import BuildSpec
from dentgen.studio.canvas_edits import edits, has_room, live_layers
from dentgen.studio.work import Snapshot

#: Seconds for which a picture waits for prompts that are embedded and maps that are encoded.
_PATIENCE: Final = 1.0


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
        canvas: The canvas.
        start: What it was started with and cannot change.
        told: The document as of the last edits.
        shown: The last document whose edits are known to act.
        pending: Edits that may not act yet, with the document that they bring.
        alike: Pictures since ``shown`` began to act, which are all the same if their noise is.
        number: Number of the last picture.
    """

    canvas: LiveCanvas
    start: tuple[object, ...]
    told: Snapshot
    shown: Snapshot
    pending: list[tuple[Future[int], Snapshot]] = field(default_factory=list)
    alike: int = 0
    number: int = 0

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

    def picture(self) -> LivePicture:
        """The next picture; waits for edits that are about to be ready, rather than make it without them."""
        self.canvas.settle(_PATIENCE)
        return self.noted(next(self.canvas.frames(1)))

    def noted(self, frame: LiveFrame) -> LivePicture:
        """A frame as a picture of the document; takes notice of the edits that it has seen from its first step on."""
        latest = self.seen_by(frame.last_version)
        self._note(frame)
        return LivePicture(frame.picture, self.shown, latest)

    def _note(self, frame: LiveFrame) -> None:
        seen = self.seen_by(frame.first_version)
        if seen is not self.shown:
            self.shown, self.alike = seen, 0
        self.pending = [each for each in self.pending if not _acts(each[0], frame.first_version)]
        self.alike += 1
        self.number = frame.index


class LiveDocument:
    """Makes a document's next picture. One thread at a time may use it.

    A canvas has rows for so many layers. When the document has more layers, or fewer, another canvas is started beside
    it: both advance until that one has its first picture and takes over, so no picture in flight is lost.
    """

    def __init__(self, generator: Generator, tell: Callable[[Exception | None], None]) -> None:
        """Take loaded models.

        Args:
            generator: The models.
            tell: Called with errors of edits that were not taken over, such as a prompt that is too long, and with None
                once there are none any more; also in other threads.
        """
        self._generator, self._tell = generator, tell
        self._running: _Running | None = None
        self._next: _Running | None = None
        self._checked = self._refused = -1
        self._failures: dict[str, Exception] = {}

    def next_picture(self, snapshot: Snapshot) -> LivePicture | None:
        """The next picture; None if it would be the same as the last one.

        Raises:
            DentgenError: If the document cannot be shown.
        """
        running = self._following(snapshot)
        self._start_next(snapshot)
        self._forget_removed(snapshot)
        if self._next is not None:
            return self._handed_over(self._next) or running.picture()
        if snapshot.settings.locked and running.alike > 1 and not running.pending:
            return None
        return running.picture()

    def close(self) -> None:
        """Stop; the next picture begins again."""
        self._drop_next()
        if self._running is not None:
            self._running.canvas.close()
        self._running = None
        self._failures.clear()

    def _following(self, snapshot: Snapshot) -> _Running:
        """The canvas, told what has changed; the next one as well."""
        running = self._running
        if running is None or not self._can_follow(running, snapshot):
            self.close()
            self._running = running = self._started(snapshot)
        for each in (running, self._next):
            if each is not None:
                self._tell_changes(each, snapshot)
        return running

    def _can_follow(self, running: _Running, snapshot: Snapshot) -> bool:
        if self._checked != snapshot.version:
            self._checked = snapshot.version
            return running.start == _start(snapshot, self._spec(snapshot))
        return True

    def _spec(self, snapshot: Snapshot) -> BuildSpec:
        return snapshot.settings.build_spec(self._generator.spec)

    def _started(self, snapshot: Snapshot, first: int = 0) -> _Running:
        """A canvas that shows a document; its first picture has that number."""
        spec = self._spec(snapshot)
        with torch_threads(spec.engine.threads):
            generator = build_generator(spec, self._generator.bundle)
        layers = live_layers(snapshot)
        canvas = LiveCanvas(
            generator, snapshot.record.prompt, layers, regions=len(layers), record=snapshot.record,
            seed=snapshot.settings.seed, advance=not snapshot.settings.locked, first=first,
        )  # fmt: skip
        return _Running(canvas, _start(snapshot, spec), told=snapshot, shown=snapshot)

    def _start_next(self, snapshot: Snapshot) -> None:
        """Start a canvas with rows for just the layers that there are, unless one has them, or it was refused."""
        running, last = self._running, self._next or self._running
        if running is None or last is None:
            return
        if last.canvas.regions == len(snapshot.layers):
            self._note_failure("regions", None)
            return
        if self._refused == snapshot.version:
            return
        self._drop_next()
        try:
            self._next = self._started(snapshot, running.number + snapshot.settings.steps)
        except DentgenError as error:  # what runs goes on
            self._refused = snapshot.version
            self._note_failure("regions", error)
        else:
            self._note_failure("regions", None)

    def _handed_over(self, next_one: _Running) -> LivePicture | None:
        """Advance the next canvas; its first picture, with which it takes over."""
        frames = next_one.canvas.tick()
        if not frames or self._running is None:
            return None
        self._running.canvas.close()
        self._running, self._next = next_one, None
        return next_one.noted(frames[0])

    def _drop_next(self) -> None:
        if self._next is not None:
            self._next.canvas.close()
        self._next = None

    def _tell_changes(self, running: _Running, snapshot: Snapshot) -> None:
        """Tell a canvas what has changed, unless it is busy, or cannot show it."""
        if running.told.version == snapshot.version or running.behind or not has_room(running.canvas, snapshot):
            return
        for what, edit in edits(running.canvas, running.told, snapshot):
            running.pending.append((edit, snapshot))
            edit.add_done_callback(partial(self._edited, what))
        running.told = snapshot
        if not running.pending:  # something that pictures do not show
            running.shown = snapshot

    def _forget_removed(self, snapshot: Snapshot) -> None:
        """Take back failures of layers that are gone, whose names end in the layer's number."""
        numbers = {str(layer.number) for layer in snapshot.layers}
        for what in list(self._failures):
            of = what.rpartition(" ")[2]
            if of.isdecimal() and of not in numbers:
                self._note_failure(what, None)

    def _edited(self, what: str, edit: Future[int]) -> None:
        """Tell of an edit that failed, until another edit of the same thing does not."""
        self._note_failure(what, None if edit.cancelled() else edit.exception())

    def _note_failure(self, what: str, error: BaseException | None) -> None:
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
    """What a canvas cannot change: settings but for scales of adapters."""
    settings = snapshot.settings
    fixed = {name: 1.0 if isinstance(scale, float) else scale for name, scale in spec.model.adapters.items()}
    model = spec.model.model_copy(update={"adapters": fixed})
    return spec.model_copy(update={"model": model}).digest(), settings.seed, settings.locked
