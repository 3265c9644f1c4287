"""Indexes are read by name and version; what cannot be read is named."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from dentgen.errors import BuildError, SpecError, StorageError
from dentgen.shards.index_reader import finished_index, index_sha256, read_index, read_version, sealed_indexes
from tests.report.fake_builds import fake_build, written


@pytest.mark.parametrize("content", [None, b"{", b'{"version": 0}'])
def test_an_unreadable_index_is_an_error_that_names_it(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "index.json").write_bytes(content)
    with pytest.raises(StorageError) as caught:
        read_index(str(tmp_path))
    assert caught.value.file == str(tmp_path / "index.json")


def test_the_latest_index_of_a_finished_build(tmp_path: Path) -> None:
    fake_build(tmp_path / "out", [written(0)])
    out = str(tmp_path / "out")
    assert finished_index(out) == read_index(out)
    content = (tmp_path / "out" / "index.json").read_bytes()
    assert index_sha256(out) == index_sha256(out, "versions/0/index.json") == hashlib.sha256(content).hexdigest()
    with pytest.raises(BuildError) as caught:
        finished_index(str(tmp_path))
    assert (caught.value.file, caught.value.expected) == (str(tmp_path), "a finished build")


def test_a_version_is_read_and_an_unknown_one_is_named(tmp_path: Path) -> None:
    fake_build(tmp_path, [written(0)])
    assert read_version(str(tmp_path), 0) == read_index(str(tmp_path))
    with pytest.raises(SpecError) as caught:
        read_version(str(tmp_path), 3)
    assert (caught.value.key, caught.value.found, caught.value.expected) == ("version", 3, "one of [0]")


def test_a_damaged_copy_leaves_the_other_index_of_a_version(tmp_path: Path) -> None:
    fake_build(tmp_path, [written(0)])
    index = read_index(str(tmp_path))
    assert sealed_indexes(str(tmp_path)) == [index, index]
    (tmp_path / "versions" / "0" / "index.json").write_bytes(b"{")
    assert sealed_indexes(str(tmp_path), 0) == [index]
    assert sealed_indexes(str(tmp_path), 1) == []
