"""How a build stands, for whoever watches it from anywhere: plan, lease and ledger, read again and again and cheaply.

Every look lists the ledger and reads the lease; of the commit records it reads those that it has not seen, the newest
first and a bounded number at once. Clocks of two machines are never compared.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from dentgen import storage
from dentgen.documents.lease import LeaseRecord
from dentgen.documents.ledger import LedgerRecord
from dentgen.documents.units import unit_name
from dentgen.errors import StorageError
from dentgen.shards import layout
from dentgen.shards.lease import read_lease
from dentgen.shards.ledger import committed_units, read_ledgers
from dentgen.shards.plan import Plan
from dentgen.shards.plan_file import plan_exists, read_plan
from dentgen.shards.rejections import rejections
from dentgen.shards.seals import is_current, read_seal

#: Seconds over which a rate is taken.
WINDOW: Final = 60.0
#: Commit records that one look reads at most.
_PER_LOOK: Final = 1000
_LAST: Final = 5
#: Records that cannot be read, after which a look gives up: it is the storage.
_TORN: Final = 10


@dataclass(frozen=True, slots=True)
class Standing:
    """How a build stands.

    Attributes:
        units, units_done: Units planned, and committed.
        samples, samples_done: Samples planned, and those of committed units, written or rejected.
        rate: Samples per second over the last minute; None if nothing was seen to happen yet.
        lease: Who holds the lease, None if nobody does.
        silence: Seconds since the lease was last seen to change.
        rejected: Rejected samples by class of their reason, of the commit records that were read.
        last_rejected: The last reasons, the newest first.
        retried: Units among those records that took more than one attempt.
        unread: Commit records that were not read yet.
        finished: Whether the build is complete.
    """

    units: int
    units_done: int
    samples: int
    samples_done: int
    rate: float | None
    lease: LeaseRecord | None
    silence: float
    rejected: Mapping[str, int]
    last_rejected: Sequence[str]
    retried: int
    unread: int
    finished: bool

    @property
    def seconds_left(self) -> float | None:
        """Seconds until all samples are done at this rate; None if nobody can tell."""
        return (self.samples - self.samples_done) / self.rate if self.rate else None


class BuildWatch:
    """Looks at a build again and again."""

    def __init__(self, out: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Look at nothing yet.

        Args:
            out: The build.
            clock: Monotonic time in seconds.
        """
        self._out, self._clock = out, clock
        self._plan: Plan | None = None
        self._samples: dict[str, int] = {}
        self._seen: set[str] = set()
        self._counted: set[str] = set()
        self._backlog: set[str] = set()
        self._done: deque[tuple[float, int]] = deque()
        self._since: float | None = None
        self._lease: tuple[LeaseRecord | None, float] = (None, clock())
        self._rejected: Counter[str] = Counter()
        self._last: deque[str] = deque(maxlen=_LAST)
        self._retried = 0

    def look(self) -> Standing | None:
        """How the build stands now; None while somebody holds its lease who has not planned it yet.

        Raises:
            BuildError: If there is no build, or its plan is damaged.
            StorageError: If it cannot be read.
        """
        lease, silence = self._look_at_lease()
        if self._plan is None and lease is not None and not plan_exists(self._out):
            return None
        plan = self._plan = self._newest_plan()
        done = {name for name in committed_units(self._out) if name in self._samples}
        records = self._read(sorted(done - self._seen, reverse=True)[:_PER_LOOK])
        if self._since is None:
            self._begin(records, done)
        self._count(done)
        return Standing(
            units=len(self._samples),
            units_done=len(done),
            samples=sum(self._samples.values()),
            samples_done=sum(self._samples[name] for name in done),
            rate=self._rate(),
            lease=lease,
            silence=silence,
            rejected=dict(self._rejected.most_common()),
            last_rejected=tuple(self._last),
            retried=self._retried,
            unread=len(done - self._seen),
            finished=len(done) == len(self._samples) and not self._is_held(lease, silence) and self._is_sealed(plan),
        )

    def _newest_plan(self) -> Plan:
        """The plan, read again once it has another segment."""
        plan = self._plan
        if plan is not None and not storage.exists(storage.join(self._out, layout.plan_head(plan.segment + 1))):
            return plan
        plan = read_plan(self._out)
        self._samples = {unit.name: unit.samples(plan.spec.sampling.variants) for unit in plan.units}
        return plan

    def _is_held(self, lease: LeaseRecord | None, silence: float) -> bool:
        """Whether somebody is at it: a run that has yet to find what is new in the source, or seals."""
        return lease is not None and silence < lease.seconds

    def _is_sealed(self, plan: Plan) -> bool:
        """Whether the newest version stands; builds that were sealed before versions had seals are marked alone."""
        if not storage.exists(storage.join(self._out, layout.SUCCESS)):
            return False
        unsealed = plan.segment == 0 and read_seal(self._out, 0) is None
        return unsealed or is_current(self._out, plan.segment)

    def _look_at_lease(self) -> tuple[LeaseRecord | None, float]:
        found, now = read_lease(self._out), self._clock()
        if found != self._lease[0]:
            self._lease = found, now
        return found, now - self._lease[1]

    def _read(self, names: Sequence[str]) -> list[LedgerRecord]:
        """Read commit records; what cannot be read is tried again at the next look, and is for ``verify`` to name."""
        records = self._readable(names)
        self._seen.update(unit_name(record.unit) for record in records)
        self._rejected.update(rejections(records))
        for record in reversed(records):
            if unit_name(record.unit) not in self._backlog:
                reasons = [sample.reason for sample in record.samples if sample.status == "rejected"]
                self._last.extendleft(dict.fromkeys(reasons))
        self._retried += sum(record.timing is not None and record.timing.attempt > 1 for record in records)
        return records

    def _readable(self, names: Sequence[str]) -> list[LedgerRecord]:
        """Records of these units, without torn ones; few of them if the storage cannot be reached."""
        with suppress(StorageError):
            return list(read_ledgers(self._out, names))
        found: list[LedgerRecord] = []
        failed = 0
        for name in names:
            try:
                found += read_ledgers(self._out, [name])
            except StorageError:
                failed += 1
            if failed == _TORN:
                break
        return found

    def _begin(self, records: Sequence[LedgerRecord], done: set[str]) -> None:
        """Take the first look's records as of the time before it, counted back from the newest of them."""
        now = self._clock()
        times = sorted(
            (record.timing.committed, len(record.samples))
            for record in records
            if record.timing is not None and record.timing.committed
        )
        newest = times[-1][0] if times else 0.0
        self._done.extend((now - (newest - then), samples) for then, samples in times if newest - then < WINDOW)
        self._since = self._done[0][0] if len(self._done) > 1 else now
        self._counted, self._backlog = set(done), done - self._seen

    def _count(self, done: set[str]) -> None:
        new = done - self._counted
        if new:
            self._done.append((self._clock(), sum(self._samples[name] for name in new)))
        self._counted |= new
        while self._done and self._done[0][0] <= self._clock() - WINDOW:
            self._done.popleft()

    def _rate(self) -> float | None:
        """Samples per second since the first thing seen, over at most a minute; the first one only starts the clock."""
        now = self._clock()
        since = max(self._since if self._since is not None else now, now - WINDOW)
        samples = sum(samples for then, samples in self._done if then > since)
        return samples / (now - since) if now > since else None
