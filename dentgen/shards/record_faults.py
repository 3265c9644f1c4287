"""What a commit record must say, given the plan: its unit, shard, number of samples and their keys."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dentgen.documents.ledger import LedgerRecord
from dentgen.documents.units import Unit, sample_key
from dentgen.shards import layout
from dentgen.shards.plan import Plan


@dataclass(frozen=True, slots=True)
class Fault:
    """One value that is not what it should be."""

    key: str
    found: Any
    expected: Any

    def __str__(self) -> str:
        """One line."""
        return f"found {self.key} {self.found!r}, expected {self.expected!r}"


def record_faults(plan: Plan, unit: Unit, record: LedgerRecord) -> Iterator[Fault]:
    """Compare a commit record with the plan and with itself.

    Args:
        plan: The plan.
        unit: The unit of which it should be.
        record: The record.
    """
    expected: dict[str, tuple[Any, Any]] = {
        "unit": (record.unit, unit.id),
        "samples": (len(record.samples), unit.samples(plan.spec.sampling.variants)),
        "shard": (record.shard, layout.shard_file(unit.name) if record.written else ""),
        "spec_digest": (record.spec_digest, plan.spec_digest),
        "bundle_digest": (record.bundle_digest, plan.bundle_digest),
    }
    if not record.written:
        expected |= {"bytes": (record.bytes, 0), "sha256": (record.sha256, "")}
    for key, (found, wanted) in expected.items():
        if found != wanted:
            yield Fault(key, found, wanted)
    for number, sample in enumerate(record.samples):
        if sample.status == "written" and sample.key != sample_key(sample.source_key, sample.variant):
            yield Fault(f"samples.{number}.key", sample.key, sample_key(sample.source_key, sample.variant))
