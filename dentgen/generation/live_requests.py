"""Edits of a live canvas whose values take time: prompts to embed, maps to encode, on a thread of their own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial

from dentgen.generation.live_control import ControlValues
from dentgen.generation.live_edits import Edit, LiveLayers, closed_error
from dentgen.generation.live_layers import LayerValues
from dentgen.generation.preparer import Preparer

_LOG = logging.getLogger(__name__)


class EditRequests:
    """Prepares the values of edits in the order in which they were asked for; any thread may ask."""

    def __init__(self, layers: LiveLayers, threads: int) -> None:
        """Start the thread.

        Args:
            layers: What is edited.
            threads: torch's threads in it.
        """
        self._layers, self._preparer = layers, Preparer(threads)
        self._waiting, self._changed = 0, threading.Condition()

    def ask(self, number: int, prepare: Callable[[], LayerValues | ControlValues]) -> Future[int]:
        """Ask for an edit.

        Args:
            number: The layer's number; 0 for values of control.
            prepare: Makes the values.

        Returns:
            The version that shows it; what ``prepare`` raised in its place, which is logged as well.

        Raises:
            EngineError: If the canvas is closed.
        """
        place, applied = self._layers.next_place(), Future[int]()
        self._count(1)
        try:
            prepared = self._preparer.submit(prepare)
        except RuntimeError as error:  # closed meanwhile
            self._count(-1)
            raise closed_error() from error
        prepared.add_done_callback(partial(self._prepared, place, number, applied))
        return applied

    def wait(self, seconds: float) -> bool:
        """Wait until the values of all edits are ready, at most so long; returns whether they are."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting, seconds)

    def close(self) -> None:
        """Let edits fail whose preparation has not begun, and wait for the others."""
        self._preparer.close()

    def _prepared(
        self, place: int, number: int, applied: Future[int], done: Future[LayerValues | ControlValues]
    ) -> None:
        error = closed_error() if done.cancelled() else done.exception()
        if error is None:
            self._layers.put(Edit(place, number, done.result(), applied))
        elif applied.set_running_or_notify_cancel():
            _LOG.warning("an edit of the live canvas was not taken over: %s", error)
            applied.set_exception(error)
        self._count(-1)

    def _count(self, by: int) -> None:
        with self._changed:
            self._waiting += by
            self._changed.notify_all()
