"""Keys that occur more than once."""

from __future__ import annotations

from collections.abc import Sequence

from dentgen.documents.ledger import LedgerRecord
from dentgen.documents.samples import SampleStatus
from dentgen.shards.key_counter import KeyCounter


def record(keys: Sequence[str]) -> LedgerRecord:
    samples = tuple(SampleStatus(key=key, source_key=key, variant=0, status="rejected") for key in keys)
    return LedgerRecord(unit=0, spec_digest="", bundle_digest="", shard="", bytes=0, sha256="", samples=samples)


def repeated(*units: Sequence[str]) -> dict[str, int]:
    counter, records = KeyCounter(), [record(keys) for keys in units]
    for one in records:
        counter.add(one)
    return counter.repeated(records)


def test_repeated_keys_are_counted_within_and_across_units() -> None:
    assert repeated(["a", "b", "b"], ["c", "a"], [], ["a"]) == {"a": 3, "b": 2}


def test_different_keys_are_not() -> None:
    assert repeated() == {}
    assert repeated(["a", "b"], ["c"]) == {}
