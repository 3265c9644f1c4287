"""A backend and a commit that take no time: what is left of a build is the pipeline's own cost.

Imports nothing heavy: actors and commit tasks of a benchmark's builds take what this module takes.
"""

from __future__ import annotations

import os
import platform
import time

from dentgen.documents.ledger import LedgerRecord, UnitTiming
from dentgen.documents.samples import SampleStatus
from dentgen.documents.units import Unit, sample_key
from dentgen.logs import LogFormat
from dentgen.pipeline.actors.commit_stage import Claims
from dentgen.pipeline.actors.heartbeat import Beat
from dentgen.pipeline.unit_outcome import UnitOutcome
from dentgen.shards.ledger import UnitResult, digest_of
from dentgen.shards.plan import BuildLocation, Plan
from dentgen.shards.tar import tar_bytes


class InstantBackend:
    """A backend for Ray's actors that packs one tiny text sample per unit."""

    dead = False

    def __init__(self, plan: Plan, location: BuildLocation) -> None:
        """Load nothing."""
        self._plan = plan

    def make(self, unit: Unit, crashes: int) -> UnitResult:
        """Pack a sample that holds the unit's name."""
        started, key = time.time(), sample_key(f"unit-{unit.name}", 0)
        shard = tar_bytes([(key, {"txt": unit.name.encode()})])
        record = LedgerRecord(
            unit=unit.id,
            spec_digest=self._plan.spec_digest,
            bundle_digest=self._plan.bundle_digest,
            shard=f"{unit.name}.tar",
            bytes=len(shard),
            sha256=digest_of(shard),
            samples=(SampleStatus(key=key, source_key=f"unit-{unit.name}", variant=0, status="written"),),
            timing=UnitTiming(
                started=started, seconds=time.time() - started, worker=f"{platform.node()}:{os.getpid()}"
            ),
        )
        return UnitResult(shard, record)

    def describe(self, beat: Beat) -> Beat:
        """Return the heartbeat unchanged: there is no engine."""
        return beat

    def take_waits(self) -> list[float]:
        """None: there is no engine to wait for."""
        return []


def commit_nothing(result: UnitResult, out: str, claims: Claims | None, log_format: LogFormat) -> UnitOutcome:
    """Commit a unit without writing it."""
    return UnitOutcome(result.record.unit, len(result.record.samples))
