"""Garbage collection: leftovers of dentgen's own are listed, and nothing that the build or somebody else needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from dentgen import storage
from dentgen.errors import BuildError
from dentgen.shards.gc import remove_files, stray_files
from dentgen.shards.index import mark_success
from dentgen.shards.plan import Plan
from dentgen.shards.plan_file import write_plan
from tests.report.fake_builds import fake_build, rejected, written

#: What killed and concurrent attempts leave behind.
STRAYS = (
    "..dentgen-0123456789ab.0123456789ab.tmp",
    ".dentgen-0123456789ab",
    ".lease.json.k3_x9a1z.tmp",
    "orphans/000001-0123456789abcdef.tar",
    "shards/.000001.tar.k3_x9a1z.tmp",
    "shards/000001.tar",  # of a unit that was rejected as a whole
)
#: Names that dentgen never gives.
FOREIGN = ("notes.txt", "shards/notes.txt", "shards/.hidden", "shards/.notes.txt.abc.tmp", "shards/sub/000000.tar")
#: Names of another build: of more units, or of a later plan.
OTHERS = ("ledger/000009.json", "plan/000001.units.parquet", "shards/000009.tar", "versions/9/index.json")


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """A sealed build of three units; the second was rejected as a whole."""
    plan = fake_build(tmp_path, [written(0), rejected(1, "broken"), written(2)])
    write_plan(str(tmp_path), plan)
    mark_success(str(tmp_path))
    storage.overwrite(str(tmp_path / "plan" / "source.parquet"), b"an index")
    return plan


def listed(out: Path, plan: Plan) -> list[str]:
    return [storage.relative_name(str(out), file.url) for file in stray_files(str(out), plan)]


def test_a_finished_build_has_no_strays(tmp_path: Path, plan: Plan) -> None:
    assert listed(tmp_path, plan) == []


def test_leftovers_are_listed_and_foreign_files_are_not(tmp_path: Path, plan: Plan) -> None:
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    for name in (*STRAYS, *FOREIGN, *OTHERS):
        storage.overwrite(str(tmp_path / name), b"x")
    assert listed(tmp_path, plan) == sorted(STRAYS)
    remove_files(stray_files(str(tmp_path), plan))
    assert listed(tmp_path, plan) == []
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == before | {
        tmp_path / name for name in (*FOREIGN, *OTHERS)
    }


def test_the_lease_and_its_holder_are_left_alone(tmp_path: Path, plan: Plan) -> None:
    storage.overwrite(str(tmp_path / "lease.json"), b"{}")
    assert listed(tmp_path, plan) == []


def test_an_unfinished_build_is_refused(tmp_path: Path, plan: Plan) -> None:
    """A shard whose record is about to be written looks like a leftover."""
    (tmp_path / "ledger" / "000001.json").unlink()
    with pytest.raises(BuildError) as caught:
        stray_files(str(tmp_path), plan)
    assert caught.value.file == str(tmp_path)
    assert "000001" in caught.value.found


def test_a_file_that_is_gone_already_is_no_error(tmp_path: Path, plan: Plan) -> None:
    storage.overwrite(str(tmp_path / "shards" / "000009.tar"), b"x")
    strays = stray_files(str(tmp_path), plan)
    remove_files(strays)
    remove_files(strays)
    assert listed(tmp_path, plan) == []


def test_nothing_is_listed_while_a_record_does_not_fit(tmp_path: Path, plan: Plan) -> None:
    record = tmp_path / "ledger" / "000002.json"
    record.write_bytes((tmp_path / "ledger" / "000000.json").read_bytes())
    with pytest.raises(BuildError) as caught:
        stray_files(str(tmp_path), plan)
    assert (caught.value.file, caught.value.key) == (str(record), "unit")
