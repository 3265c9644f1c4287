"""The lease of an output: one build at a time, and a clear message to the second one.

It saves duplicated work; correctness does not depend on it, because units are deterministic and committed once. A lease
is live if it changes while it is watched: clocks of two machines are never compared.
"""

from __future__ import annotations

import logging
import os
import platform
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import psutil

from dentgen import storage
from dentgen.documents.lease import LeaseRecord, LiveFigures
from dentgen.errors import BuildError, faults_of
from dentgen.shards import layout
from dentgen.shards.tar import json_bytes

_LOG = logging.getLogger(__name__)

#: Renewals within the time after which a lease counts as stale.
_RENEWALS: Final = 3
_MAX_POLL_SECONDS: Final = 1.0


class Lease:
    """A held lease, renewed by a thread until it is released or taken over.

    Attributes:
        figures: Gives what a renewal tells watchers of the build; called in the lease's thread.
        on_renewal: Called in that thread after every renewal.
    """

    def __init__(self, out: str, record: LeaseRecord) -> None:
        """Start renewing a lease that was just acquired."""
        self._out, self._record = out, record
        self._taken_by: LeaseRecord | None = None
        self._over = threading.Event()
        self._silenced = False
        self.figures: Callable[[], LiveFigures | None] = lambda: None
        self.on_renewal: Callable[[], object] = lambda: None
        self._thread = threading.Thread(target=self._renew_on, name="dentgen-lease", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Require that the lease is still ours.

        Raises:
            BuildError: If another build has taken the lease over.
        """
        if self._taken_by is not None:
            raise BuildError(
                "the lease was lost", file=storage.without_secrets(self._out),
                found=f"a build by {_holder(self._taken_by)}",
                expected=f"renewals of our lease at least every {self._record.seconds:g} s",
                advice="this build stops, its committed units stay",
            )  # fmt: skip

    def stands(self) -> bool:
        """Whether the stored lease is ours at this moment, of which the thread that renews it may not know yet.

        Raises:
            StorageError: If it cannot be read.
        """
        standing = read_lease(self._out)
        return standing is not None and standing.owner == self.run

    def release(self) -> None:
        """Release the lease; one that was taken over is left alone."""
        self._over.set()
        self._thread.join()
        try:
            if self._taken_by is None:
                storage.remove_if_unchanged(lease_url(self._out), _content(self._record))
        except Exception as error:  # noqa: BLE001 - must not hide the error that ended the build
            _LOG.warning(
                "%s: cannot remove the lease, it goes stale in %g s: %s", self._out, self._record.seconds, error
            )

    def _renew_on(self) -> None:
        while not self._over.wait(self._record.seconds / _RENEWALS):
            try:
                self._renew()
            except Exception as error:  # noqa: BLE001 - an outage of the storage may be temporary
                if not self._silenced:
                    _LOG.warning("cannot renew the lease, retrying: %s", error)
                self._silenced = True
            else:
                self._silenced = False
            if self._taken_by is not None:
                return

    def _renew(self) -> None:
        """Replace our record by the next one; after a lost answer we find our own write."""
        url = lease_url(self._out)
        update = {"renewals": self._record.renewals + 1, "live": self.figures()}
        following = self._record.model_copy(update=update)
        if not storage.replace_if_unchanged(url, _content(self._record), _content(following)):
            found = storage.read_if_exists(url)
            if found is None:  # removed by hand
                storage.put_if_absent(url, _content(following))
                found = storage.read_if_exists(url)
            if found is None or not self._recognise(_record_of(found)):
                return
            if found != _content(following):  # an earlier write of ours, whose answer was lost: go on from there
                return
        self._record = following
        self.on_renewal()

    def _recognise(self, standing: LeaseRecord) -> bool:
        """Whether the standing record is ours, which is then what the next renewal replaces."""
        if standing.owner != self._record.owner:
            self._taken_by = standing
            return False
        self._record = standing
        return True

    @property
    def run(self) -> str:
        """Random name of the run that holds the lease, 32 hexadecimal digits."""
        return self._record.owner


@contextmanager
def hold_lease(out: str, seconds: float) -> Iterator[Lease]:
    """Hold the lease of an output.

    A stale lease is taken over: at once if its owner was a process of this machine that is gone, otherwise after it did
    not change for as long as it promised to.

    Args:
        out: The build.
        seconds: Time without a renewal after which others may take it over.

    Raises:
        BuildError: If another build holds the lease.
        StorageError: If the storage cannot be reached.
    """
    record = _own_record(seconds)
    _take(out, record)
    lease = Lease(out, record)
    try:
        yield lease
    finally:
        lease.release()


def describe_lease(out: str) -> str:
    """The lease holder as one line, "" if there is none."""
    record = read_lease(out)
    return "" if record is None else lease_line(record)


def lease_line(record: LeaseRecord) -> str:
    """The holder of a lease as one line."""
    if _is_gone(record):
        return f"stopped: {_holder(record)} is gone; the next build on that machine takes over at once"
    return f"building: {_holder(record)}; its lease goes stale {record.seconds:g} s after the last renewal"


def read_lease(out: str) -> LeaseRecord | None:
    """The lease of a build, None if nobody holds one; one that cannot be read is of an unknown owner."""
    found = storage.read_if_exists(lease_url(out))
    return None if found is None else _record_of(found)


def lease_fault(out: str) -> str:
    """What is wrong with the lease that is there, "" if it can be read or there is none."""
    found = storage.read_if_exists(lease_url(out))
    try:
        if found is not None:
            LeaseRecord.model_validate_json(found)
    except ValueError as error:
        return f"not a lease: {faults_of(error)}"
    return ""


def lease_url(out: str) -> str:
    """URL of a build's lease."""
    return storage.join(out, layout.LEASE)


def _take(out: str, record: LeaseRecord) -> None:
    """Acquire the lease, or raise once its holder has renewed it under our eyes."""
    url, mine = lease_url(out), _content(record)
    seen, began = b"", time.monotonic()
    while not storage.put_if_absent(url, mine):
        found = storage.read_if_exists(url)
        if found == mine:
            return  # the answer to our put was lost
        if found is None:
            continue
        if found != seen:
            if seen:
                raise _held(out, found)
            seen, began = found, time.monotonic()
            _LOG.info("%s: watching whether %s renews its lease", url, _holder(_record_of(found)))
        if _is_stale(_record_of(found), began) and storage.replace_if_unchanged(url, found, mine):
            _LOG.warning("%s: took over the stale lease of %s", url, _holder(_record_of(found)))
            return
        time.sleep(min(_MAX_POLL_SECONDS, record.seconds / 10))


def _held(out: str, found: bytes) -> BuildError:
    holder = _record_of(found)
    return BuildError(
        "another build is running", file=storage.without_secrets(out), found=f"a live lease of {_holder(holder)}",
        expected="none", advice=f"wait for it or stop it: its lease goes stale after {holder.seconds:g} s",
    )  # fmt: skip


def _is_stale(record: LeaseRecord, began: float) -> bool:
    return _is_gone(record) or time.monotonic() - began >= record.seconds


def _is_gone(record: LeaseRecord) -> bool:
    """Whether the owner was a process of this machine that has ended."""
    if not record.machine or record.machine != _machine():
        return False
    if not psutil.pid_exists(record.process):
        return True
    with suppress(psutil.Error):
        process = psutil.Process(record.process)
        return process.status() == psutil.STATUS_ZOMBIE or _started(process) != record.process_started
    return False


def _own_record(seconds: float) -> LeaseRecord:
    return LeaseRecord(
        owner=uuid.uuid4().hex,
        host=platform.node(),
        process=os.getpid(),
        machine=_machine(),
        process_started=_started(psutil.Process()),
        since=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=seconds,
    )


def _started(process: psutil.Process) -> float:
    """Start in seconds since boot, which changes of the wall clock do not move."""
    return round(process.create_time() - psutil.boot_time(), 2)


def _machine() -> str:
    """Boot id and PID namespace: containers may share a host name, but not process ids."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _holder(record: LeaseRecord) -> str:
    return f"process {record.process} on {record.host} (since {record.since})"


def _content(record: LeaseRecord) -> bytes:
    """Without figures it is a lease that older versions read, too."""
    return json_bytes(record.model_dump(mode="json", exclude_none=True))


def _record_of(found: bytes) -> LeaseRecord:
    """The record in a lease; an unreadable one counts as held by an unknown owner."""
    try:
        return LeaseRecord.model_validate_json(found)
    except ValueError:
        return LeaseRecord(owner="?", host="?", process=0, process_started=0, since="?", seconds=60)
