"""Ctrl-C and a scheduler's SIGTERM: every command ends within seconds, with one line and no process left behind."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final

import psutil
import typer

#: For what has to be cleaned up: a lease, a local Ray, a pool of processes.
_SECONDS_TO_END: Final = 12.0
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Turns the first signal into KeyboardInterrupt; later ones change nothing, because the process is ending."""

    def __init__(self, seconds: float = _SECONDS_TO_END) -> None:
        """Nothing was received yet.

        Args:
            seconds: After the first signal; then the process is ended whatever it is doing.
        """
        self._seconds = seconds
        self.received: int | None = None

    @contextmanager
    def handling(self) -> Iterator[None]:
        """Handle signals within the block, and afterwards if one was received: the process is about to exit."""
        before = {number: signal.signal(number, self.handle) for number in _SIGNALS}
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        woken = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        threading.Thread(target=self._watch, args=(reader,), name="dentgen-signals", daemon=True).start()
        try:
            yield
        finally:
            signal.set_wakeup_fd(woken)
            os.close(writer)  # ends the thread
            if self.received is None:
                for number, handler in before.items():
                    signal.signal(number, handler)

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal.

        Raises:
            KeyboardInterrupt: For the first one.
        """
        if self.received is not None:
            return
        self.received = number
        deadline = threading.Timer(self._seconds, self._end_now)
        deadline.daemon = True
        deadline.start()
        raise KeyboardInterrupt

    def _watch(self, reader: int) -> None:
        """End the process if its main thread sits in C code and calls no handler, as while Ray waits for its start."""
        with os.fdopen(reader, "rb", buffering=0) as numbers:
            while content := numbers.read(1):
                number = content[0]
                if number not in _SIGNALS or not self._ends(number):
                    continue
                time.sleep(self._seconds)
                if self.received is None and self._ends(number):
                    self.received = number
                    self._end_now()

    def _ends(self, number: int) -> bool:
        """Whether a signal ends the command; a training puts it off until its step is saved."""
        handler = signal.getsignal(number)
        return handler == self.handle or (getattr(handler, "__module__", None) or "").startswith("ray.")

    @property
    def exit_code(self) -> int:
        """What shells report for a process that the signal ended."""
        return 128 + (self.received or signal.SIGINT)

    def say(self) -> None:
        """Print the one line that an interrupted command ends with."""
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:  # an exiting interpreter no longer calls handlers
                signal.signal(number, signal.SIG_IGN)
        typer.echo("interrupted; finished work stays, and the same command continues", err=True)

    def _end_now(self) -> None:
        """End a process that does not end by itself; all that dentgen writes survives that."""
        end_children()
        self.say()
        os._exit(self.exit_code)


def end_children() -> None:
    """Kill what this process started, and what that started."""
    children = psutil.Process().children(recursive=True)
    for child in children:
        with suppress(psutil.NoSuchProcess):
            child.kill()
    psutil.wait_procs(children, timeout=1)  # reaps them
