"""What a commit record must say, given the plan."""

from __future__ import annotations

from typing import Any

import pytest

from dentgen.documents.ledger import LedgerRecord
from dentgen.shards.record_faults import record_faults
from tests.report.fake_builds import fake_plan, rejected, written

PLAN = fake_plan((2, 1))


def record(**changes: Any) -> LedgerRecord:
    """The record of the first unit: one written and one rejected condition record of two variants."""
    values: dict[str, Any] = {
        "unit": 0, "spec_digest": PLAN.spec_digest, "bundle_digest": PLAN.bundle_digest, "shard": "000000.tar",
        "bytes": 9, "sha256": "1" * 64, "samples": (*written(0), *rejected(1, "torn")), **changes,
    }  # fmt: skip
    return LedgerRecord(**values)


def test_a_record_that_fits_has_no_faults() -> None:
    assert list(record_faults(PLAN, PLAN.units[0], record())) == []


def test_a_unit_of_rejected_samples_has_no_shard() -> None:
    none = record(shard="", bytes=0, sha256="", samples=(*rejected(0, "torn"), *rejected(1, "torn")))
    assert list(record_faults(PLAN, PLAN.units[0], none)) == []
    faults = record_faults(PLAN, PLAN.units[0], none.model_copy(update={"bytes": 9, "sha256": "1"}))
    assert {fault.key for fault in faults} == {"bytes", "sha256"}


CHANGES: dict[str, tuple[dict[str, Any], Any, Any]] = {
    "unit": ({"unit": 1}, 1, 0),
    "samples": ({"samples": tuple(written(0))}, 2, 4),
    "shard": ({"shard": "../../x"}, "../../x", "000000.tar"),
    "spec_digest": ({"spec_digest": "x"}, "x", PLAN.spec_digest),
    "bundle_digest": ({"bundle_digest": "x"}, "x", PLAN.bundle_digest),
    "samples.0.key": (
        {"samples": (written(0)[0].model_copy(update={"key": "x"}), written(0)[1], *rejected(1, "torn"))},
        "x",
        "jaw-000-v000",
    ),
}


@pytest.mark.parametrize("key", CHANGES)
def test_every_field_that_does_not_fit_is_named(key: str) -> None:
    changes, found, expected = CHANGES[key]
    (fault,) = record_faults(PLAN, PLAN.units[0], record(**changes))
    assert (fault.key, fault.found, fault.expected) == (key, found, expected)
