"""Faults inside a driver, each at a point of its progress and never at a time."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dentgen import storage
from tests.faults.drivers import Fault

#: Calls that change a disk durably, in the order in which a put makes them.
DURABLE = ("fsync", "link", "replace", "unlink")


def die() -> None:
    """SIGKILL, which nothing can catch."""
    os.kill(os.getpid(), signal.SIGKILL)


def dies_at(number: int, counted: Path | None = None) -> Fault:
    """SIGKILL before change NUMBER of the disk; or count all changes into a file."""

    def fault() -> None:
        numbers = itertools.count(1)

        def before(change: Callable[..., Any]) -> Callable[..., Any]:
            def changed(*args: Any, **kwargs: Any) -> Any:
                now = next(numbers)
                if counted is not None:
                    counted.write_text(str(now))
                if now == number:
                    die()
                return change(*args, **kwargs)

            return changed

        for name in DURABLE:
            setattr(os, name, before(getattr(os, name)))

    return fault


#: Functions of ``storage`` that change something, on a disk or in an object store.
CHANGES = (
    "put_if_absent", "put_tagged", "overwrite", "overwrite_from", "replace_if_unchanged", "remove_if_unchanged",
    "remove",
)  # fmt: skip


def dies_around(number: int) -> Fault:
    """SIGKILL before or, if NUMBER is even, after change NUMBER // 2 of the storage."""

    def fault() -> None:
        numbers = itertools.count(1)

        def around(change: Callable[..., Any]) -> Callable[..., Any]:
            def changed(*args: Any, **kwargs: Any) -> Any:
                now = next(numbers)
                if 2 * now - 1 == number:
                    die()
                done = change(*args, **kwargs)
                if 2 * now == number:
                    die()
                return done

            return changed

        for name in CHANGES:
            setattr(storage, name, around(getattr(storage, name)))

    return fault


def after_put(name: str, then: Callable[[], None]) -> Fault:
    """Call ``then`` after a file of the build was written."""

    def around(url: str, put: Callable[[], Any]) -> Any:
        done = put()
        if url.endswith(name):
            then()
        return done

    return _around_puts(around)


def before_put(name: str, then: Callable[[], None]) -> Fault:
    """Call ``then`` before a file of the build is written."""

    def around(url: str, put: Callable[[], Any]) -> Any:
        if url.endswith(name):
            then()
        return put()

    return _around_puts(around)


def _around_puts(around: Callable[[str, Callable[[], Any]], Any]) -> Fault:
    def fault() -> None:
        for name in ("put_if_absent", "put_tagged", "overwrite", "overwrite_from"):
            put = getattr(storage, name)
            setattr(storage, name, lambda url, data, put=put: around(url, lambda: put(url, data)))

    return fault


def full_disk_from(name: str) -> Fault:
    """ENOSPC from every fsync, starting with that of a file of the build."""

    def fault() -> None:
        fsync, full = os.fsync, [False]

        def refuse(handle: int) -> None:
            full[0] = full[0] or Path(f"/proc/self/fd/{handle}").readlink().name.startswith(f".{name}.")
            if full[0]:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            fsync(handle)

        os.fsync = refuse  # type: ignore[assignment]

    return fault


def clock_goes_back() -> None:
    """Every reading of the clock is an hour earlier than the one before."""
    now, steps = time.time, itertools.count()
    time.time = lambda: now() - 3600 * next(steps)


def wait_for(what: Callable[[], object], seconds: float = 400) -> None:
    """Wait for progress; generously, because a busy machine may be slow."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "the awaited progress did not happen"
        time.sleep(0.01)


@contextmanager
def small_disk(place: Path) -> Iterator[bool]:
    """A disk of four megabytes, if this user may mount one."""
    place.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)]
    can = shutil.which("mount") is not None
    mounted = can and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(place)], check=True)


def fills_the_disk(place: Path) -> Fault:
    """Fill the disk to the last block before the third unit is written."""

    def fill() -> None:
        handle = os.open(place / "filler", os.O_CREAT | os.O_WRONLY)
        with suppress(OSError):
            while True:
                os.write(handle, bytes(4096))
        os.close(handle)

    return before_put("shards/000002.tar", fill)
