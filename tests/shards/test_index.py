"""Sealing: what the ledger says becomes an index and a table; what is not whole is not sealed."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dentgen.documents.ledger import UnitTiming
from dentgen.errors import BuildError
from dentgen.shards import ledger as ledger_module
from dentgen.shards import sample_rows as rows_module
from dentgen.shards.index import mark_success, seal
from dentgen.shards.index_reader import read_index
from dentgen.shards.ledger import digest_of, read_ledger, read_ledgers
from dentgen.shards.plan import Plan
from dentgen.shards.tar import json_bytes
from tests.conftest import problems
from tests.report.fake_builds import fake_build, rejected, written
from tests.shards.sealed_builds import peak_bytes, rejected_ledger

UNITS = [written(0), rejected(1, "a.tar: broken"), [*written(2), *rejected(3, "a.tar: torn")]]


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """A sealed build: two shards, and a unit without one."""
    return fake_build(tmp_path, UNITS)


def rewrite_record(out: Path, name: str, **changes: object) -> None:
    record = read_ledger(str(out), name).model_copy(update=changes)
    (out / "ledger" / f"{name}.json").write_bytes(json_bytes(record.model_dump(mode="json")))


def test_the_index_lists_the_shards_of_the_ledger(tmp_path: Path, plan: Plan) -> None:
    index = read_index(str(tmp_path))
    assert (index.planned, index.written, index.rejected) == (8, 4, 4)
    assert [(entry.name, entry.samples) for entry in index.shards] == [("000000.tar", 2), ("000002.tar", 2)]
    for entry in index.shards:
        content = (tmp_path / "shards" / entry.name).read_bytes()
        assert (entry.bytes, entry.sha256) == (len(content), digest_of(content))
    assert read_index(str(tmp_path), "versions/0/index.json") == index
    assert seal(str(tmp_path), plan) == index, "sealing again changes nothing"


def test_an_attempt_changes_nothing_that_must_be_equal(tmp_path: Path, plan: Plan) -> None:
    """Neither the index with its digest of the ledger, nor the table, nor what repair and verify compare."""
    index, table = read_index(str(tmp_path)), (tmp_path / "samples.parquet").read_bytes()
    before = read_ledger(str(tmp_path), "000002")
    timing = UnitTiming(started=1.0, seconds=2.0, worker="w", attempt=3)
    rewrite_record(tmp_path, "000002", timing=timing)
    after = read_ledger(str(tmp_path), "000002")
    assert after.timing is not None
    assert after.timing.attempt == 3
    assert ledger_module.same_but_timing(before, after)
    assert seal(str(tmp_path), plan) == index
    assert (tmp_path / "samples.parquet").read_bytes() == table
    mark_success(str(tmp_path))
    assert problems(tmp_path) == []


def test_a_record_of_an_older_version_is_of_a_first_attempt(tmp_path: Path, plan: Plan) -> None:
    file = tmp_path / "ledger" / "000000.json"
    content = json.loads(file.read_text())
    content["timing"] = {"started": 1.0, "seconds": 2.0, "committed": 3.0, "worker": "w"}
    file.write_text(json.dumps(content))
    record = read_ledger(str(tmp_path), "000000")
    assert record.timing is not None
    assert record.timing.attempt == 1
    assert seal(str(tmp_path), plan) == read_index(str(tmp_path))


def test_a_pending_unit_is_not_sealed(tmp_path: Path, plan: Plan) -> None:
    (tmp_path / "ledger" / "000001.json").unlink()
    with pytest.raises(BuildError) as caught:
        seal(str(tmp_path), plan)
    assert caught.value.file == str(tmp_path)
    assert "000001" in caught.value.found


def test_a_ledger_that_does_not_add_up_is_not_sealed(tmp_path: Path, plan: Plan) -> None:
    """Planned = written + rejected."""
    samples = read_ledger(str(tmp_path), "000002").samples
    for changed in (samples[1:], (*samples, samples[0])):
        rewrite_record(tmp_path, "000002", samples=changed)
        with pytest.raises(BuildError) as caught:
            seal(str(tmp_path), plan)
        assert caught.value.file == str(tmp_path / "ledger" / "000002.json")
        assert (caught.value.key, caught.value.found, caught.value.expected) == ("samples", len(changed), len(samples))


@pytest.mark.parametrize("content", [None, b"short"])
def test_a_missing_or_truncated_shard_is_not_sealed(content: bytes | None, tmp_path: Path, plan: Plan) -> None:
    shard = tmp_path / "shards" / "000002.tar"
    size = shard.stat().st_size
    shard.unlink()
    if content is not None:
        shard.write_bytes(content)
    with pytest.raises(BuildError) as caught:
        seal(str(tmp_path), plan)
    assert caught.value.file == str(shard)
    assert caught.value.expected == f"{size} bytes"
    assert str(tmp_path) in caught.value.advice


def test_nothing_is_written_where_sealing_fails(tmp_path: Path, plan: Plan) -> None:
    for name in ("index.json", "versions/0/index.json", "samples.parquet"):
        (tmp_path / name).unlink()
    (tmp_path / "shards" / "000000.tar").unlink()
    with pytest.raises(BuildError):
        seal(str(tmp_path), plan)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == []


def test_success_is_marked_once(tmp_path: Path) -> None:
    mark_success(str(tmp_path))
    mark_success(str(tmp_path))
    assert (tmp_path / "_SUCCESS").read_bytes() == b""


@pytest.mark.slow
def test_memory_of_sealing_does_not_grow_with_the_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three times the units take the same memory; smaller buffers than in production keep the test small."""
    monkeypatch.setattr(rows_module, "_ROW_GROUP", 256)
    monkeypatch.setattr(ledger_module, "_READ_AHEAD", 8)
    out, plan, peaks = tmp_path, rejected_ledger(tmp_path / "none", 0, 32), []
    for units in (30, 90):
        out = tmp_path / str(units)
        plan = rejected_ledger(out, units, 32)
        seal(str(out), plan)  # imports and caches of the first time
        peaks.append(peak_bytes(lambda out=out, plan=plan: seal(str(out), plan)))  # type: ignore[misc]
    everything = peak_bytes(lambda: list(read_ledgers(str(out), (unit.name for unit in plan.units))))
    assert peaks[1] < 1.3 * peaks[0], peaks
    assert peaks[1] < everything / 3, (peaks, everything)
    assert pq.ParquetFile(out / "samples.parquet").metadata.num_rows == 90 * 32
