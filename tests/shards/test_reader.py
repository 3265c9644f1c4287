"""Reading finished shards back: samples in order, and no damaged byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from dentgen.errors import BuildError, StorageError
from dentgen.shards.index_reader import read_index
from dentgen.shards.reader import read_samples, read_shard, tar_samples
from dentgen.shards.tar import tar_bytes
from tests.report.fake_builds import fake_build, members, rejected, written

SAMPLES = [("b", {"png": b"1", "seg.png": b"2", "json": b"{}"}), ("a/c", {"png": b"3", "json": b""})]


def test_samples_of_an_archive_come_back_in_order() -> None:
    assert list(tar_samples(tar_bytes(SAMPLES))) == [(key, dict(sorted(found.items()))) for key, found in SAMPLES]


def test_an_empty_archive_has_none() -> None:
    assert list(tar_samples(tar_bytes([]))) == []


def test_samples_of_a_build_come_shard_by_shard(tmp_path: Path) -> None:
    units = [written(0), rejected(1, "broken"), written(2)]
    fake_build(tmp_path, units)
    found = dict(read_samples(str(tmp_path)))
    assert list(found) == ["jaw-000-v000", "jaw-000-v001", "jaw-002-v000", "jaw-002-v001"]
    assert found["jaw-002-v001"] == members(units[2][1])


def test_a_damaged_shard_is_an_error_that_names_it(tmp_path: Path) -> None:
    fake_build(tmp_path, [written(0)])
    (entry,) = read_index(str(tmp_path)).shards
    shard = tmp_path / "shards" / "000000.tar"
    whole = shard.read_bytes()
    assert read_shard(str(tmp_path), entry) == whole
    for damaged in (whole[:-1], whole[:700] + b"x" + whole[701:]):
        shard.write_bytes(damaged)
        with pytest.raises(BuildError) as caught:
            read_shard(str(tmp_path), entry)
        assert caught.value.file == str(shard)
        assert entry.sha256 in caught.value.expected
        assert str(len(damaged)) in caught.value.found
    shard.write_bytes(whole + bytes(10**6))
    with pytest.raises(BuildError) as caught:
        read_shard(str(tmp_path), entry)
    assert caught.value.found == f"over {len(whole)} bytes"
    shard.unlink()
    with pytest.raises(StorageError) as missing:
        read_shard(str(tmp_path), entry)
    assert missing.value.file == str(shard)


def test_an_unsealed_build_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught:
        next(read_samples(str(tmp_path)))
    assert caught.value.file == str(tmp_path / "index.json")
