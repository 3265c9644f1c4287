"""The one thread that makes pictures: a live canvas that follows the document, and single jobs in between."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from dentgen.errors import DentgenError
from dentgen.generation.generator import Generator
from dentgen.studio.live_document import LiveDocument
from dentgen.studio.pictures import Pictures
from dentgen.studio.work import Snapshot, Work

_LOG = logging.getLogger(__name__)
_Result = TypeVar("_Result")
#: Seconds after which a thread that waits looks around again.
_PATIENCE: Final = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A picture of the stream.

    Attributes:
        number: Its number since the studio began.
        picture: (H, W, 3) uint8.
        snapshot: The document that its first step saw.
        latest: Version of the document that its last step saw; another one if it changed meanwhile.
    """

    number: int
    picture: NDArray[np.uint8]
    snapshot: Snapshot
    latest: int

    @property
    def version(self) -> int:
        """Version of the document that its first step saw."""
        return self.snapshot.version

    @property
    def whole(self) -> bool:
        """Whether all of it was made from one document."""
        return self.latest == self.version


@dataclass(slots=True)
class _Job:
    """Work for the engine's thread."""

    call: Callable[[Pictures], Any]
    done: Future[Any] = field(default_factory=Future)


class Stream:
    """Pictures of a document, made as fast as they come and handed to a function; jobs come before them.

    An error stops the stream until the document changes; the thread goes on.
    """

    def __init__(
        self,
        work: Work,
        generator: Generator,
        show: Callable[[Frame], None],
        tell: Callable[[Exception | None], None],
    ) -> None:
        """Start the thread.

        Args:
            work: The document.
            generator: Loaded models; nobody else may use them.
            show: Called with every picture, in the thread.
            tell: Called with an error that stopped the stream, and with None once pictures come again.
        """
        self._work, self._show, self._tell = work, show, tell
        self._pictures = Pictures(generator)
        self._live = LiveDocument(generator, tell)
        self._jobs: queue.Queue[_Job] = queue.Queue()
        self._woken, self._closed = threading.Event(), threading.Event()
        self._number, self._failed = 0, -1
        work.listen(lambda changed: self._woken.set())
        self._thread = threading.Thread(target=self._run, name="dentgen-studio-engine")
        self._thread.start()

    def submit(self, call: Callable[[Pictures], _Result]) -> Future[_Result]:
        """Let the engine's thread do something with its models, before the next picture."""
        job = _Job(call)
        self._jobs.put(job)
        self._woken.set()
        if self._closed.is_set():
            self._cancel_jobs()
        return job.done

    def close(self) -> None:
        """Stop after the tick in progress, and wait for the thread."""
        self._closed.set()
        self._woken.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._closed.is_set():
                self._woken.clear()
                if not self._do_job() and not self._make_picture():
                    self._woken.wait(_PATIENCE)
        finally:
            self._live.close()
            self._cancel_jobs()

    def _do_job(self) -> bool:
        """Do a waiting job; returns whether there was one."""
        try:
            job = self._jobs.get_nowait()
        except queue.Empty:
            return False
        if job.done.set_running_or_notify_cancel():
            try:
                job.done.set_result(job.call(self._pictures))
            except Exception as error:  # noqa: BLE001 - whoever asked for it gets it
                job.done.set_exception(error)
        return True

    def _cancel_jobs(self) -> None:
        for job in _emptied(self._jobs):
            job.done.cancel()

    def _make_picture(self) -> bool:
        """Make the next picture; returns whether there may be more."""
        snapshot = self._work.snapshot()
        if not snapshot.settings.playing or snapshot.version == self._failed:
            return False
        try:
            made = self._live.next_picture(snapshot)
        except Exception as error:  # noqa: BLE001 - the thread must outlive whatever the engine does
            self._stop(snapshot, error)
            return False
        if made is None:
            return False
        if self._failed >= 0:
            self._failed = -1
            self._tell(None)
        self._show(Frame(self._number, made.picture, made.snapshot, made.latest.version))
        self._number += 1
        return True

    def _stop(self, snapshot: Snapshot, error: Exception) -> None:
        if not isinstance(error, DentgenError):
            _LOG.exception("the stream stopped")
        self._failed = snapshot.version
        self._live.close()
        self._tell(error)


def _emptied(jobs: queue.Queue[_Job]) -> Iterator[_Job]:
    """Jobs that wait, taken out."""
    yield from iter(partial(_next_or_none, jobs), None)


def _next_or_none(jobs: queue.Queue[_Job]) -> _Job | None:
    try:
        return jobs.get_nowait()
    except queue.Empty:
        return None
