"""Storage: atomic, put-if-absent, on disk and on a real S3 endpoint."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from dentgen import storage
from dentgen.errors import StorageError


@pytest.fixture(params=["disk", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "disk":
        return str(tmp_path)
    url: str = request.getfixturevalue("s3_root")
    return storage.join(url, request.node.name.replace("[", "-").replace("]", ""))


def test_round_trip(root: str) -> None:
    url = storage.join(root, "a", "b.bin")
    assert not storage.exists(url)
    assert storage.put_if_absent(url, b"first")
    assert storage.exists(url)
    assert storage.read_bytes(url) == b"first"
    assert not storage.put_if_absent(url, b"second")
    assert storage.read_bytes(url) == b"first", "a put name never changes"
    storage.put_latest(url, b"third")
    assert storage.read_bytes(url) == b"third"
    assert storage.list_names(storage.join(root, "a")) == ["b.bin"]
    assert storage.list_names(storage.join(root, "nothing")) == []
    assert [(storage.name_of(f.url), f.size) for f in storage.list_files(root)] == [("b.bin", 5)]


def race(put: Callable[[int], bool], count: int) -> int:
    barrier, won = threading.Barrier(count), []

    def run(number: int) -> None:
        barrier.wait()
        if put(number):
            won.append(number)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(won)


def test_one_of_many_racing_writers_wins(root: str) -> None:
    url = storage.join(root, "raced")
    contents = [bytes([n]) * 100_000 for n in range(6)]
    assert race(lambda n: storage.put_if_absent(url, contents[n]), 6) == 1
    assert storage.read_bytes(url) in contents


def test_nothing_half_written_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(handle: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(StorageError, match=r"x\.tar: cannot be put: no space"):
        storage.put_if_absent(str(tmp_path / "x.tar"), b"data")
    assert list(tmp_path.glob("*.tar")) == []


def test_missing_places_are_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="not-there"):
        storage.read_bytes(str(tmp_path / "not-there"))
    with pytest.raises(StorageError, match="not-there"):
        storage.list_files(str(tmp_path / "not-there"))


def test_secrets_are_not_written_down() -> None:
    assert storage.without_secrets("s3://key:secret@bucket/a?X-Sig=1") == "s3://bucket/a"
    assert storage.without_secrets("s3://bucket/a/b") == "s3://bucket/a/b"
    assert storage.without_secrets("out/demo/") == "out/demo/"
