"""Writes on conditions, on a disk and on S3, one after the other and at once."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from dentgen import storage
from dentgen.errors import StorageError
from dentgen.storage import conditional_put
from tests.s3_faults import FaultProxy


def test_the_tag_of_a_put_holds_until_the_file_is_replaced(root: str) -> None:
    """By content of the same length, too; in S3 equal content may keep it."""
    url = storage.join(root, "tagged")
    tag = storage.put_tagged(url, b"first")
    assert tag
    assert storage.tag_of(url) == tag
    assert storage.put_tagged(url, b"other") is None
    assert storage.tag_of(url) == tag
    storage.overwrite(url, b"other")
    assert storage.tag_of(url) not in {tag, ""}
    storage.remove(url)
    with pytest.raises(StorageError) as caught:
        storage.tag_of(url)
    assert caught.value.file == url


@pytest.mark.slow
def test_an_object_that_is_uploaded_in_parts_has_a_tag(s3_root: str) -> None:
    """S3 makes it of the parts' digests, and the upload's last answer does not tell it."""
    url, content = storage.join(s3_root, "in-parts"), bytes(101 * 2**20)
    tag = storage.put_tagged(url, content)
    assert storage.tag_of(url) == tag
    assert tag is not None
    assert tag.endswith('-3"')


def test_other_storages_have_no_tags() -> None:
    url = "memory://bucket/untagged"
    assert storage.put_tagged(url, b"first") == ""
    assert storage.tag_of(url) == ""
    assert storage.put_tagged(url, b"first") is None


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


def test_compare_and_swap(root: str) -> None:
    url = storage.join(root, "agreed")
    assert storage.read_if_exists(url) is None
    assert not storage.replace_if_unchanged(url, b"nothing", b"x"), "what is not there is not replaced"
    assert not storage.remove_if_unchanged(url, b"nothing")
    storage.overwrite(url, b"first")
    assert not storage.replace_if_unchanged(url, b"other", b"second")
    assert storage.read_if_exists(url) == b"first"
    assert storage.replace_if_unchanged(url, b"first", b"second")
    assert storage.read_if_exists(url) == b"second"
    assert not storage.remove_if_unchanged(url, b"first")
    assert storage.read_if_exists(url) == b"second"
    assert storage.remove_if_unchanged(url, b"second")
    assert storage.read_if_exists(url) is None
    assert storage.list_names(root) == [], "nothing is left of locks"


def test_one_of_many_racing_swaps_wins(root: str) -> None:
    url = storage.join(root, "raced-over")
    storage.overwrite(url, b"first")
    contents = [bytes([n]) * 100 for n in range(6)]
    assert race(lambda n: storage.replace_if_unchanged(url, b"first", contents[n]), 6) == 1
    assert storage.read_bytes(url) in contents
    assert race(lambda n: storage.remove_if_unchanged(url, storage.read_if_exists(url) or b"gone"), 6) >= 1
    assert not storage.exists(url)


@pytest.mark.parametrize("act", ["replace", "remove"])
def test_s3_refuses_a_swap_that_was_overtaken(act: str, s3_root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two writers: the second one puts after the first has read and compared; the first is answered 412."""
    url, compare = storage.join(s3_root, f"two-writers-{act}"), conditional_put._tag_if_same
    storage.overwrite(url, b"first")

    def compare_and_be_overtaken(fs: object, path: str, expected: bytes) -> str | None:
        tag = compare(fs, path, expected)
        storage.overwrite(url, b"second writer's")
        return tag

    monkeypatch.setattr(conditional_put, "_tag_if_same", compare_and_be_overtaken)
    if act == "replace":
        assert not storage.replace_if_unchanged(url, b"first", b"first writer's")
    else:
        assert not storage.remove_if_unchanged(url, b"first")
    monkeypatch.undo()
    assert storage.read_bytes(url) == b"second writer's"


@pytest.mark.parametrize("fault", ["reset", *(pytest.param(code, marks=pytest.mark.slow) for code in ("500", "503"))])
def test_transient_errors_are_retried(fault: str, flaky_s3: FaultProxy, s3_root: str) -> None:
    url = storage.join(s3_root, f"bad-{fault}", "x")
    operations: list[tuple[Callable[[], object], object]] = [
        (lambda: storage.put_if_absent(url, b"first"), True),
        (lambda: storage.put_if_absent(url, b"second"), False),
        (lambda: storage.read_bytes(url), b"first"),
        (lambda: storage.read_range(url, 1, 3), b"ir"),
        (lambda: storage.list_names(storage.join(s3_root, f"bad-{fault}")), ["x"]),
        (lambda: storage.overwrite(url, b"third"), None),
        (lambda: storage.read_bytes(url), b"third"),
    ]
    for operation, expected in operations:
        flaky_s3.plan = [fault, fault]
        assert operation() == expected
        assert flaky_s3.plan == [], "the faults came"


def test_create_only_conflicts_are_retried(flaky_s3: FaultProxy, s3_root: str) -> None:
    """AWS answers 409 where two create-only PUTs meet, and asks for another try."""
    flaky_s3.plan = ["409", "409"]
    assert storage.put_if_absent(storage.join(s3_root, "conflict"), b"x")
    assert flaky_s3.hit == ["PUT", "PUT"]


def test_a_put_whose_answer_is_lost_finds_its_own_object(flaky_s3: FaultProxy, s3_root: str) -> None:
    url = storage.join(s3_root, "late")
    flaky_s3.plan = ["late"]
    assert not storage.put_if_absent(url, b"mine")
    assert storage.read_bytes(url) == b"mine"


def test_storages_without_create_only_writes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "memory://bucket/once"
    contents = [bytes([n]) for n in range(4)]
    assert storage.put_if_absent(url, contents[0])
    storage.require_create_only(url, contents[0])
    assert not storage.put_if_absent(url, contents[1])
    monkeypatch.setattr(MemoryFileSystem, "pipe_file", lambda self, path, value, mode="overwrite": None)
    with pytest.raises(StorageError) as caught:
        storage.require_create_only(url, contents[0])
    assert caught.value.file == url
    assert "MemoryFileSystem" in caught.value.found


def test_failed_writes_leave_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(handle: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(StorageError, match="no space left") as caught:
        storage.put_if_absent(str(tmp_path / "x.tar"), b"data")
    assert caught.value.file == str(tmp_path / "x.tar")
    assert list(tmp_path.iterdir()) == [], "nor a temporary file, which a full disk has no room for"


def test_content_is_synced_before_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a power cut leaves: a name only if its bytes are there, and after the put the name in any case.

    Nobody cuts the power here: the order of the calls that the kernel keeps through one is looked at.
    """
    calls: list[tuple[str, str, bool]] = []

    def noting(name: str, call: Callable[..., object]) -> Callable[..., object]:
        def noted(*args: object) -> object:
            target = Path(f"/proc/self/fd/{args[0]}").readlink() if name == "fsync" else Path(str(args[1]))
            whole = target.is_dir() or name != "fsync" or target.read_bytes() == b"data"
            calls.append((name, "folder" if target.is_dir() else target.suffix, whole))
            return call(*args)

        return noted

    for name in ("fsync", "link", "replace"):
        monkeypatch.setattr(os, name, noting(name, getattr(os, name)))
    assert storage.put_if_absent(str(tmp_path / "x.tar"), b"data")
    assert calls == [("fsync", ".tmp", True), ("link", ".tar", True), ("fsync", "folder", True)]
    calls.clear()
    storage.overwrite(str(tmp_path / "x.tar"), b"data")
    assert calls == [("fsync", ".tmp", True), ("replace", ".tar", True), ("fsync", "folder", True)]


def test_a_local_file_is_published_whole(root: str, tmp_path: Path) -> None:
    content = os.urandom(3_000_000)
    (tmp_path / "local").write_bytes(content)
    url = storage.join(root, "published", "table")
    storage.overwrite(url, b"older")
    storage.overwrite_from(url, tmp_path / "local")
    assert storage.read_bytes(url) == content
    assert storage.list_names(storage.join(root, "published")) == ["table"]


def test_a_folder_is_removed_if_it_is_empty(tmp_path: Path) -> None:
    for name in ("full/inside", "empty"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("full", "empty", "none"):
        storage.remove_if_empty(str(tmp_path / name))
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["full", "inside"]
