"""Records that a report shows: spread over shards, views and patients, and the same every time."""

from __future__ import annotations

from pathlib import Path

import pytest

from dentgen import storage
from dentgen.errors import BuildError
from dentgen.report.html.pick_records import MAX_RECORDS, MAX_SHARDS, MAX_VARIANTS, choose_records
from dentgen.shards.index_reader import read_index
from tests.report.fake_builds import VIEWS, fake_build, written


def test_records_are_spread_over_shards_and_views(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_build(tmp_path, [[sample for n in range(4) for sample in written(4 * unit + n)] for unit in range(20)])
    index = read_index(str(tmp_path))
    read: list[str] = []

    def read_range(url: str, start: int, stop: int) -> bytes:
        read.append(url)
        return Path(url).read_bytes()[start:stop]

    monkeypatch.setattr(storage, "read_range", read_range)
    chosen = choose_records(str(tmp_path), index)
    assert len(read) == MAX_SHARDS
    assert (read[0][-10:], read[-1][-10:]) == ("000000.tar", "000019.tar")
    assert len(chosen) == MAX_RECORDS
    assert {view: [record.view for record in chosen].count(view) for view in VIEWS} == dict.fromkeys(VIEWS, 8)
    assert len({record.group for record in chosen}) > 12
    assert [record.key for record in choose_records(str(tmp_path), index)] == [record.key for record in chosen]


def test_records_keep_their_order_and_variants(tmp_path: Path) -> None:
    fake_build(tmp_path, [[*written(5), *written(3, variants=MAX_VARIANTS + 2)]])
    first, second = choose_records(str(tmp_path), read_index(str(tmp_path)))
    assert (first.key, second.key) == ("jaw-005", "jaw-003")
    assert [sample.name for sample in first.samples] == ["variant 0", "variant 1"]
    assert len(second.samples) == MAX_VARIANTS
    assert second.samples[0].members.keys() == {"png", "seg.png", "fdi.png", "light.png", "json"}


def test_damaged_shard_is_named(tmp_path: Path) -> None:
    fake_build(tmp_path, [written(0)])
    (shard,) = (tmp_path / "shards").iterdir()
    shard.write_bytes(b"x" * 100)
    with pytest.raises(BuildError) as caught:
        choose_records(str(tmp_path), read_index(str(tmp_path)))
    assert shard.name in str(caught.value)
