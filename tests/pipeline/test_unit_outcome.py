"""A unit's outcome: what its record says, and that a failed commit is none."""

from __future__ import annotations

import time

import pytest

from dentgen.documents.ledger import LedgerRecord, UnitTiming
from dentgen.documents.samples import SampleStatus
from dentgen.pipeline.unit_outcome import UnitOutcome


def record(attempt: int | None) -> LedgerRecord:
    written = SampleStatus(key="k-v000", source_key="k", variant=0, status="written")
    reason = "k-v001: sampling gave values that are not finite"
    rejected = SampleStatus(key="k-v001", source_key="k", variant=1, status="rejected", reason=reason)
    timing = None if attempt is None else UnitTiming(started=1, seconds=1, worker="w", attempt=attempt)
    return LedgerRecord(
        unit=7, spec_digest="", bundle_digest="", shard="000007.tar", bytes=11, sha256="", timing=timing,
        samples=(written, rejected, rejected),
    )  # fmt: skip


def test_an_outcome_tells_what_the_record_says_and_how_long_the_commit_took() -> None:
    outcome = UnitOutcome.of(record(3), lambda: time.sleep(0.02))
    assert outcome == UnitOutcome(7, 3, rejected={"not_finite": 2}, attempt=3, bytes=11)
    assert (outcome.written, outcome.error) == (1, "")
    assert outcome.put_seconds >= 0.02


def test_a_record_without_times_is_of_a_first_attempt() -> None:
    assert UnitOutcome.of(record(None), lambda: None).attempt == 1


def test_a_commit_that_fails_has_no_outcome() -> None:
    with pytest.raises(ZeroDivisionError):
        UnitOutcome.of(record(1), lambda: 1 // 0)
