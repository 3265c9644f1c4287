"""Finished builds without a model, and ledgers of any size."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path

from dentgen import storage
from dentgen.documents.ledger import LedgerRecord
from dentgen.documents.samples import SampleStatus
from dentgen.documents.units import Unit, sample_key
from dentgen.shards import layout
from dentgen.shards.index import mark_success
from dentgen.shards.plan import Plan
from dentgen.shards.tar import json_bytes
from dentgen.shards.unit_table import UnitTable
from tests.report.fake_builds import fake_build, fake_plan


def finished_build(out: Path, units: Sequence[list[SampleStatus]]) -> Plan:
    """Write, seal and finish a build of these samples, two variants a record."""
    plan = fake_build(out, units)
    mark_success(str(out))
    return plan


def rejected_ledger(out: Path, units: int, samples: int) -> Plan:
    """A ledger of units of one record each, all of whose samples were rejected, so that there are no shards."""
    table = UnitTable.of(Unit(id=n, shard="a.tar", start=n, stop=n + 1, records=1, shard_bytes=1) for n in range(units))
    one = fake_plan(sampling={"variants": samples})
    plan = Plan(0, one.spec, one.spec_digest, one.bundle_digest, one.environment, table)
    for unit in table:
        statuses = tuple(_rejected(unit.id, variant) for variant in range(samples))
        record = LedgerRecord(
            unit=unit.id, spec_digest=plan.spec_digest, bundle_digest=plan.bundle_digest, shard="", bytes=0, sha256="",
            samples=statuses,
        )  # fmt: skip
        content = json_bytes(record.model_dump(mode="json"))
        storage.put_if_absent(storage.join(str(out), layout.ledger(unit.name)), content)
    return plan


def _rejected(unit: int, variant: int) -> SampleStatus:
    key = f"patient-{unit:06d}"
    reason = f"a.tar: {key}.seg.png: found no image, expected a complete PNG image"
    return SampleStatus(key=sample_key(key, variant), source_key=key, variant=variant, status="rejected", reason=reason)


def peak_bytes(work: Callable[[], object]) -> int:
    """Largest size of Python's objects that ``work`` holds at one time."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
