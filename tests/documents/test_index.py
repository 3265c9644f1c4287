"""Index and seals: what a reader may rely on."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from dentgen.documents.index import DatasetIndex, SealRecord, ShardEntry, TickRecord


def test_an_index_of_before_splits_and_digests_is_read() -> None:
    shard = {"name": "000000.tar", "bytes": 5, "sha256": "x", "samples": 2}
    values = {"version": 1, "spec_digest": "s", "bundle_digest": "b", "planned": 2, "written": 2, "rejected": 0}
    found = DatasetIndex.model_validate({**values, "shards": [shard]})
    assert found.shards == (ShardEntry(name="000000.tar", bytes=5, sha256="x", samples=2, splits={}),)
    assert (found.plan_sha256, found.samples_sha256) == ("", "")


@pytest.mark.parametrize("name", ["version", "segment", "units", "planned", "written", "rejected", "shards", "bytes"])
def test_counts_of_a_seal_are_no_less_than_none(name: str) -> None:
    counts = dict.fromkeys(("version", "segment", "units", "planned", "written", "rejected", "shards", "bytes"), 0)
    digests = dict.fromkeys(("plan_sha256", "index_sha256", "ledger_sha256"), "x")
    with pytest.raises(ValidationError) as caught:
        SealRecord.model_validate({**counts, **digests, name: -1})
    assert [error["loc"] for error in caught.value.errors()] == [(name,)]
    assert SealRecord.model_validate({**counts, **digests}).retired == 0


def test_a_tick_names_the_version_that_it_left() -> None:
    assert TickRecord.model_validate_json('{"key": "monday", "version": 3}').version == 3
