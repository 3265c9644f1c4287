"""Two versions of one build: what the later one has more, and what it leaves out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dentgen.documents.units import Unit
from dentgen.errors import SpecError
from dentgen.report.comparison.versions import compare_versions
from dentgen.shards.index import seal
from dentgen.shards.plan_file import read_plan, write_plan
from dentgen.shards.unit_table import UnitTable
from tests.report.fake_builds import fake_build, noise, rejected, write_unit, written


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A build of two units whose second version replaces one of them by two."""
    plan = fake_build(tmp_path, [written(0), written(1)])
    units = [Unit(id=n, shard="b.tar", start=n, stop=n + 1, records=1, shard_bytes=1) for n in (2, 3)]
    grown = replace(
        plan, segment=1, units=UnitTable.joined([plan.units, UnitTable.of(units, 2)], [0]), firsts=(0, 2),
        retires=((), (0,)), base_sha256=plan.digest(),
    )  # fmt: skip
    for unit, samples in zip(units, (written(5, split="train"), rejected(6, "torn")), strict=True):
        write_unit(tmp_path, grown, unit, samples, None, noise)
    write_plan(str(tmp_path), grown)
    seal(str(tmp_path), read_plan(str(tmp_path)), tick="day 2")
    return tmp_path


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_what_the_later_version_has_more_is_told(order: tuple[int, int], out: Path) -> None:
    found = compare_versions(str(out), *order)
    assert (found.first.version, found.second.version) == (0, 1)
    assert (found.added, found.left_out, found.retired, found.samples) == (1, 1, (0,), 2)
    assert found.counts["split"] == {"train": 2}
    assert found.counts["view"] == {"right": 2}
    assert "caries" not in found.counts
    lines = list(found.lines())
    assert lines[2:] == [
        "added: 2 samples in 1 shards", "left out: 1 units, 1 shards, first unit 000000", "added by split: train 2",
        "added by view: right 2",
    ]  # fmt: skip


def test_a_version_and_itself_differ_in_nothing(out: Path) -> None:
    found = compare_versions(str(out), 1, 1)
    assert (found.added, found.left_out, found.retired, found.samples, found.counts) == (0, 0, (), 0, {})


def test_a_version_that_is_none_is_named(out: Path) -> None:
    with pytest.raises(SpecError) as caught:
        compare_versions(str(out), 0, 7)
    assert (caught.value.key, caught.value.found, caught.value.expected) == ("version", 7, "one of [0, 1]")
