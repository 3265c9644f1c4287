"""The table of commit records: the records of the ledger, read at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from dentgen.errors import StorageError
from dentgen.shards.ledger import read_ledgers
from dentgen.shards.ledger_table import is_sound, names_of, read_ledger_table, read_records, write_ledger_table
from dentgen.shards.plan import Plan
from tests.report.fake_builds import fake_build, rejected, written

TABLE = "versions/0/ledger.parquet"


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """A sealed build of three units."""
    return fake_build(tmp_path, [written(0), rejected(1, "broken"), written(2)])


def test_a_version_is_sealed_with_the_records_of_its_units(tmp_path: Path, plan: Plan) -> None:
    single = list(read_ledgers(str(tmp_path), ["000000", "000001", "000002"]))
    assert list(read_ledger_table(str(tmp_path / TABLE))) == single
    assert list(read_records(str(tmp_path), plan)) == single
    assert list(names_of(plan.units)) == ["000000", "000001", "000002"]


def test_sealed_records_need_no_single_files_and_others_do(tmp_path: Path, plan: Plan) -> None:
    (tmp_path / "ledger" / "000001.json").unlink()
    assert len(list(read_records(str(tmp_path), plan))) == 3
    with pytest.raises(StorageError):
        list(read_records(str(tmp_path), plan, 0))


def test_a_damaged_table_is_not_believed(tmp_path: Path, plan: Plan) -> None:
    assert is_sound(str(tmp_path), 0)
    other = tmp_path / "other"
    records = [record for record in read_ledger_table(str(tmp_path / TABLE)) if record.unit]
    write_ledger_table(other, records)
    for content in (other.read_bytes(), b"PAR1"):
        (tmp_path / TABLE).write_bytes(content)
        assert not is_sound(str(tmp_path), 0)
        assert [record.unit for record in read_records(str(tmp_path), plan)] == [0, 1, 2]
    with pytest.raises(StorageError) as caught:
        list(read_ledger_table(str(tmp_path / TABLE)))
    assert caught.value.file == str(tmp_path / TABLE)


def test_equal_records_give_equal_bytes(tmp_path: Path, plan: Plan) -> None:
    write_ledger_table(tmp_path / "again", read_records(str(tmp_path), plan))
    assert (tmp_path / "again").read_bytes() == (tmp_path / TABLE).read_bytes()
