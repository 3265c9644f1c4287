"""Pending units: by a listing where that is cheap, and without looking at sealed ones where it is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dentgen.documents.units import Unit
from dentgen.shards import pending
from dentgen.shards.pending import pending_units
from dentgen.shards.plan import Plan
from dentgen.shards.unit_table import UnitTable
from tests.report.fake_builds import fake_build, written


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """A sealed build of two units that three more are planned for."""
    first = fake_build(tmp_path, [written(0), written(1)])
    units = [Unit(id=n, shard="b.tar", start=n, stop=n + 1, records=1, shard_bytes=1) for n in range(2, 5)]
    joined = UnitTable.joined([first.units, UnitTable.of(units, 2)])
    (tmp_path / "ledger" / "000003.json").write_text("{}")
    return replace(first, segment=1, units=joined, firsts=(0, 2), retires=((), ()))


@pytest.mark.parametrize(("listed", "names"), [(20_000, 12), (1, 12), (1, 0)])
def test_units_without_a_record_are_pending(
    listed: int, names: int, tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Listed as a whole, listed but for sealed ones, and asked for by name."""
    monkeypatch.setattr(pending, "_LISTED", listed)
    monkeypatch.setattr(pending, "_NAMES_A_QUESTION", names)
    assert pending_units(str(tmp_path), plan).tolist() == [2, 4]


def test_sealed_units_are_looked_at_only_where_they_are_few(
    tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ledger" / "000000.json").unlink()
    assert pending_units(str(tmp_path), plan).tolist() == [0, 2, 4]
    monkeypatch.setattr(pending, "_LISTED", 1)
    assert pending_units(str(tmp_path), plan).tolist() == [2, 4]


def test_a_million_sealed_units_are_not_listed(tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending, "_LISTED", 1)
    monkeypatch.setattr(pending, "committed_units", None)
    sealed = replace(plan, segment=0, units=plan.units.between(0, 2), firsts=(0,), retires=((),))
    assert pending_units(str(tmp_path), sealed).tolist() == []
