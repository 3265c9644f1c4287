"""Check sheets: the same draw every time, half of it from what failed the gate, nothing that was rejected."""

from __future__ import annotations

from pathlib import Path

import pytest

from dentgen.curation.check_sheet import SheetEntry, _Drawn, draw_sheet
from dentgen.errors import BuildError
from dentgen.seeding import derive_seed
from dentgen.shards.index import publish_index
from dentgen.shards.index_reader import index_sha256, read_index
from tests.curation.checked_build import checked_build
from tests.report.fake_builds import fake_build, rejected, written


def test_half_of_the_sheet_failed_the_gate(tmp_path: Path) -> None:
    checked_build(tmp_path, passed=20, failed=6)
    sheet = draw_sheet(str(tmp_path), 8)
    said = [entry.gate for entry in sheet.entries]
    assert (said.count("failed"), said.count("passed")) == (4, 4)
    assert said != sorted(said)  # they are mixed
    assert sheet.written == {"passed": 20, "failed": 6, "none": 0}
    assert sheet.index_sha256 == index_sha256(str(tmp_path))


@pytest.mark.parametrize(("count", "failed", "passed"), [(20, 6, 14), (26, 6, 20), (100, 6, 20), (1, 0, 1)])
def test_one_kind_makes_up_for_what_the_other_lacks(tmp_path: Path, count: int, failed: int, passed: int) -> None:
    checked_build(tmp_path, passed=20, failed=6)
    said = [entry.gate for entry in draw_sheet(str(tmp_path), count).entries]
    assert (said.count("failed"), said.count("passed")) == (failed, passed)
    assert len({entry.key for entry in draw_sheet(str(tmp_path), count).entries}) == len(said)


def test_few_that_passed_leave_room_for_more_that_failed(tmp_path: Path) -> None:
    checked_build(tmp_path, passed=2, failed=10)
    said = [entry.gate for entry in draw_sheet(str(tmp_path), 8).entries]
    assert (said.count("failed"), said.count("passed")) == (6, 2)


def test_the_seed_names_the_draw(tmp_path: Path) -> None:
    checked_build(tmp_path, passed=20, failed=6)
    draws = [[entry.key for entry in draw_sheet(str(tmp_path), 8, seed).entries] for seed in (0, 0, 1)]
    assert draws[0] == draws[1]
    assert set(draws[0]) != set(draws[2])


def test_without_a_gate_all_written_samples_are_drawn_from(tmp_path: Path) -> None:
    fake_build(tmp_path, [written(0), rejected(1, "torn"), written(2)])
    sheet = draw_sheet(str(tmp_path), 200)
    assert sorted(entry.key for entry in sheet.entries) == [f"jaw-00{n}-v00{v}" for n in (0, 2) for v in (0, 1)]
    assert {entry.gate for entry in sheet.entries} == {"none"}
    assert {entry.shard for entry in sheet.entries} == {"000000.tar", "000002.tar"}


def test_the_sheet_of_an_earlier_version_is_that_which_was_drawn_from_it(tmp_path: Path) -> None:
    checked_build(tmp_path, passed=8, failed=2)
    whole = read_index(str(tmp_path))
    first = whole.model_copy(update={"shards": whole.shards[:2]})
    publish_index(str(tmp_path), first)
    place = tmp_path / "versions" / "0" / "index.json"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes((tmp_path / "index.json").read_bytes())
    before = draw_sheet(str(tmp_path), 10)
    publish_index(str(tmp_path), whole.model_copy(update={"version": 1}))
    assert draw_sheet(str(tmp_path), 10, index=before.index_sha256) == before
    assert len(draw_sheet(str(tmp_path), 10).entries) == 10 > len(before.entries) == 4
    with pytest.raises(BuildError) as caught:
        draw_sheet(str(tmp_path), 10, index="0" * 64)
    assert caught.value.key == "index_sha256"


def test_a_build_without_a_written_sample_has_no_sheet(tmp_path: Path) -> None:
    fake_build(tmp_path, [rejected(0, "torn")])
    with pytest.raises(BuildError) as caught:
        draw_sheet(str(tmp_path))
    assert caught.value.found == "no written sample"


def test_few_entries_are_in_memory_at_once() -> None:
    drawn, most = _Drawn(5, 0), 0
    entries = [SheetEntry(f"k{n}", "a.tar", "none") for n in range(1000)]
    for entry in entries:
        drawn.add(entry)
        most = max(most, len(drawn.kept))
    assert most < 20
    assert drawn.entries() == sorted(entries, key=lambda entry: derive_seed(0, "check sheet", entry.key))[:5]


def test_an_unfinished_build_has_no_sheet(tmp_path: Path) -> None:
    with pytest.raises(BuildError) as caught:
        draw_sheet(str(tmp_path))
    assert caught.value.expected == "a finished build"
