"""The lease: one build of an output at a time; whoever comes second is told who builds.

It saves work that would be done twice and says so clearly. Bytes do not depend on it: they are right where it fails.
A lease lives if it changes while one looks: no clock of one machine is compared with another's. Refuses to know what is
built.
"""

from __future__ import annotations

import logging
import os
import platform
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import psutil

from dentgen import storage
from dentgen.documents import LeaseRecord
from dentgen.errors import BuildError
from dentgen.shards.tar import json_bytes

_LOG = logging.getLogger(__name__)

LEASE: Final = "lease.json"
#: Renewals within the time after which a lease may be taken over.
_RENEWALS: Final = 3
_MOST_LOOK_SECONDS: Final = 1.0


class Lease:
    """A lease that is held, renewed by a thread until it is released or lost to another."""

    def __init__(self, out: str, record: LeaseRecord) -> None:
        """Renew what was just taken."""
        self._out, self._record = out, record
        self._taken_by: LeaseRecord | None = None
        self._over = threading.Event()
        self._silenced = False
        self._thread = threading.Thread(target=self._renew_on, name="dentgen-lease", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Go on only while nobody else builds.

        Raises:
            BuildError: If another build has taken the lease over.
        """
        if self._taken_by is not None:
            raise BuildError(
                f"{self._out}: {_holder(self._taken_by)} took over, because this build's {LEASE} was silent for "
                f"{self._record.seconds:g} s; this build ends, what it committed stays"
            )

    def release(self) -> None:
        """Let others build; a lease that was lost is left alone."""
        self._over.set()
        self._thread.join()
        try:
            if self._taken_by is None:
                storage.remove_if_unchanged(lease_url(self._out), _content(self._record))
        except Exception as error:  # noqa: BLE001 - it must not hide what ended the build
            _LOG.warning(
                "%s: the lease is not removed, others wait for %g s: %s", self._out, self._record.seconds, error
            )

    def _renew_on(self) -> None:
        while not self._over.wait(self._record.seconds / _RENEWALS):
            try:
                self._renew()
            except Exception as error:  # noqa: BLE001 - whatever a storage says while it is away, it may come back
                if not self._silenced:
                    _LOG.warning("the lease cannot be renewed, which is tried again and again: %s", error)
                self._silenced = True
            else:
                self._silenced = False
            if self._taken_by is not None:
                return

    def _renew(self) -> None:
        """Replace our record by the next one; an answer that was lost is found to be our own."""
        url = lease_url(self._out)
        following = self._record.model_copy(update={"renewals": self._record.renewals + 1})
        if not storage.replace_if_unchanged(url, _content(self._record), _content(following)):
            found = storage.read_if_exists(url)
            if found is None:  # removed by hand
                storage.put_if_absent(url, _content(following))
                found = storage.read_if_exists(url)
            if found is not None and (standing := _record_of(found)).owner != self._record.owner:
                self._taken_by = standing
                return
            if found != _content(following):
                return
        self._record = following


@contextmanager
def hold_lease(out: str, seconds: float) -> Iterator[Lease]:
    """Hold a build's lease for a while.

    A lease whose owner's process is gone from this machine is taken over at once; one that does not change while it is
    looked at for as long as it promised to is taken over then, whatever any clock says.

    Args:
        out: The build.
        seconds: Without a renewal for so long, others may take it over.

    Raises:
        BuildError: If another build lives; the message says which.
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
    """Who builds, as a line for people; "" if nobody does."""
    found = storage.read_if_exists(lease_url(out))
    if found is None:
        return ""
    record = _record_of(found)
    if _is_gone(record):
        return f"broken off: {_holder(record)}; the next build on that machine takes over at once"
    return f"building: {_holder(record)}; another build takes over when it has been silent for {record.seconds:g} s"


def lease_url(out: str) -> str:
    """Where a build's lease stands."""
    return storage.join(out, LEASE)


def _take(out: str, record: LeaseRecord) -> None:
    """Wait until nothing stands in the way, or something living does."""
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
                raise BuildError(_refusal(out, found))
            seen, began = found, time.monotonic()
            _LOG.info("%s: looking whether %s lives", url, _holder(_record_of(found)))
        if _may_be_taken(_record_of(found), began) and storage.replace_if_unchanged(url, found, mine):
            _LOG.warning("%s: taken over from %s", url, _holder(_record_of(found)))
            return
        time.sleep(min(_MOST_LOOK_SECONDS, record.seconds / 10))


def _refusal(out: str, found: bytes) -> str:
    standing = _record_of(found)
    return (
        f"{out}: {_holder(standing)} builds here and lives; wait for it or stop it: it is taken over when it has been "
        f"silent for {standing.seconds:g} s"
    )


def _may_be_taken(record: LeaseRecord, began: float) -> bool:
    return _is_gone(record) or time.monotonic() - began >= record.seconds


def _is_gone(record: LeaseRecord) -> bool:
    """Whether the owner's process is known to have ended; what another machine runs is not known."""
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
    """Seconds from the start of the machine, which no change of its clock moves."""
    return round(process.create_time() - psutil.boot_time(), 2)


def _machine() -> str:
    """This start of this machine and this view of its processes: containers may share a name, not process ids."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _holder(record: LeaseRecord) -> str:
    return f"process {record.process} on {record.host} (since {record.since})"


def _content(record: LeaseRecord) -> bytes:
    return json_bytes(record.model_dump(mode="json"))


def _record_of(found: bytes) -> LeaseRecord:
    """The record in a lease; one that cannot be read has an owner all the same, who may live."""
    try:
        return LeaseRecord.model_validate_json(found)
    except ValueError:
        return LeaseRecord(owner="?", host="?", process=0, process_started=0, since="?", seconds=60)
