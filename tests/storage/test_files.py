"""Storage: atomic, put-if-absent, on disk and on a real S3 endpoint."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from dentgen.errors import StorageError
from dentgen.storage import conditional_put, files
from tests.s3_faults import FaultProxy, fault_proxy


@pytest.fixture(params=["disk", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "disk":
        return str(tmp_path)
    url: str = request.getfixturevalue("s3_root")
    return files.join(url, request.node.name.replace("[", "-").replace("]", ""))


def test_round_trip(root: str) -> None:
    url = files.join(root, "a", "b.bin")
    assert not files.exists(url)
    assert files.put_if_absent(url, b"first")
    assert files.exists(url)
    assert files.read_bytes(url) == b"first"
    assert not files.put_if_absent(url, b"second")
    assert files.read_bytes(url) == b"first", "a put name never changes"
    files.overwrite(url, b"third")
    assert files.read_bytes(url) == b"third"
    assert files.list_names(files.join(root, "a")) == ["b.bin"]
    assert files.list_names(files.join(root, "nothing")) == []
    assert [(files.name_of(f.url), f.size) for f in files.list_files(root)] == [("b.bin", 5)]


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
    url = files.join(root, "raced")
    contents = [bytes([n]) * 100_000 for n in range(6)]
    assert race(lambda n: files.put_if_absent(url, contents[n]), 6) == 1
    assert files.read_bytes(url) in contents


def test_what_stands_is_replaced_only_as_it_was_read(root: str) -> None:
    url = files.join(root, "agreed")
    assert files.read_if_exists(url) is None
    assert not files.replace_if_unchanged(url, b"nothing", b"x"), "what is not there is not replaced"
    assert not files.remove_if_unchanged(url, b"nothing")
    files.overwrite(url, b"first")
    assert not files.replace_if_unchanged(url, b"other", b"second")
    assert files.read_if_exists(url) == b"first"
    assert files.replace_if_unchanged(url, b"first", b"second")
    assert files.read_if_exists(url) == b"second"
    assert not files.remove_if_unchanged(url, b"first")
    assert files.read_if_exists(url) == b"second"
    assert files.remove_if_unchanged(url, b"second")
    assert files.read_if_exists(url) is None
    assert files.list_names(root) == [], "nothing is left of locks"


def test_one_of_many_who_replace_wins(root: str) -> None:
    url = files.join(root, "raced-over")
    files.overwrite(url, b"first")
    contents = [bytes([n]) * 100 for n in range(6)]
    assert race(lambda n: files.replace_if_unchanged(url, b"first", contents[n]), 6) == 1
    assert files.read_bytes(url) in contents
    assert race(lambda n: files.remove_if_unchanged(url, files.read_if_exists(url) or b"gone"), 6) >= 1
    assert not files.exists(url)


@pytest.mark.parametrize("act", ["replace", "remove"])
def test_s3_refuses_what_was_replaced_between_read_and_put(
    act: str, s3_root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two writers: the second one puts after the first has read and compared; the first is answered 412."""
    url, compare = files.join(s3_root, f"two-writers-{act}"), conditional_put._tag_if_same
    files.overwrite(url, b"first")

    def compare_and_be_overtaken(fs: object, path: str, expected: bytes) -> str | None:
        tag = compare(fs, path, expected)
        files.overwrite(url, b"second writer's")
        return tag

    monkeypatch.setattr(conditional_put, "_tag_if_same", compare_and_be_overtaken)
    if act == "replace":
        assert not files.replace_if_unchanged(url, b"first", b"first writer's")
    else:
        assert not files.remove_if_unchanged(url, b"first")
    monkeypatch.undo()
    assert files.read_bytes(url) == b"second writer's"


@pytest.fixture
def bad_day(s3_root: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """The S3 endpoint behind a proxy that fails as told."""
    import s3fs

    with fault_proxy(os.environ["AWS_ENDPOINT_URL"]) as proxy:
        host, port = proxy.server_address[:2]
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host!s}:{port}")
        s3fs.S3FileSystem.clear_instance_cache()
        yield proxy
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.mark.parametrize("fault", ["500", "503", "reset"])
def test_what_passes_is_tried_again(fault: str, bad_day: FaultProxy, s3_root: str) -> None:
    url = files.join(s3_root, f"bad-{fault}", "x")
    operations: list[tuple[Callable[[], object], object]] = [
        (lambda: files.put_if_absent(url, b"first"), True),
        (lambda: files.put_if_absent(url, b"second"), False),
        (lambda: files.read_bytes(url), b"first"),
        (lambda: files.read_range(url, 1, 3), b"ir"),
        (lambda: files.list_names(files.join(s3_root, f"bad-{fault}")), ["x"]),
        (lambda: files.overwrite(url, b"third"), None),
        (lambda: files.read_bytes(url), b"third"),
    ]
    for operation, expected in operations:
        bad_day.plan = [fault, fault]
        assert operation() == expected
        assert bad_day.plan == [], "the faults came"


def test_a_conflict_of_create_only_puts_is_tried_again(bad_day: FaultProxy, s3_root: str) -> None:
    """AWS answers 409 where two create-only PUTs meet, and asks for another try."""
    bad_day.plan = ["409", "409"]
    assert files.put_if_absent(files.join(s3_root, "conflict"), b"x")
    assert bad_day.hit == ["PUT", "PUT"]


def test_a_put_whose_answer_is_lost_finds_its_own_object(bad_day: FaultProxy, s3_root: str) -> None:
    url = files.join(s3_root, "late")
    bad_day.plan = ["late"]
    assert not files.put_if_absent(url, b"mine")
    assert files.read_bytes(url) == b"mine"


@pytest.mark.parametrize("fault", ["500", "reset"])
def test_a_storage_that_stays_down_is_named(
    fault: str, bad_day: FaultProxy, s3_root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    url = files.join(s3_root, "down")
    bad_day.plan = [fault] * 1000
    operations: tuple[Callable[[], object], ...] = (
        lambda: files.put_if_absent(url, b"x"),
        lambda: files.overwrite(url, b"x"),
        lambda: files.read_bytes(url),
        lambda: files.read_if_exists(url),
        lambda: files.exists(url),
        lambda: files.list_names(url),
        lambda: files.list_files(url),
    )
    for operation in operations if fault == "500" else operations[4:6]:  # s3fs waits long between resets
        with pytest.raises(StorageError, match="s3://dentgen-test/root/down: cannot be"):
            operation()
    bad_day.plan = []


def test_other_storages_keep_the_promise_or_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "memory://bucket/once"
    contents = [bytes([n]) for n in range(4)]
    assert files.put_if_absent(url, contents[0])
    files.require_create_only(url, contents[0])
    assert not files.put_if_absent(url, contents[1])
    monkeypatch.setattr(MemoryFileSystem, "pipe_file", lambda self, path, value, mode="overwrite": None)
    with pytest.raises(StorageError, match="MemoryFileSystem overwrites what exists"):
        files.require_create_only(url, contents[0])


def test_passwords_in_urls_are_refused_and_not_repeated() -> None:
    for url in ("ftp://user:hunter2@host/x", "s3://key:hunter2@bucket/x", "https://hunter2@host/x"):
        with pytest.raises(StorageError, match="expected it in the environment") as caught:
            files.exists(url)
        assert "hunter2" not in str(caught.value)


def test_nothing_half_written_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(handle: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(StorageError, match=r"x\.tar: cannot be put: no space"):
        files.put_if_absent(str(tmp_path / "x.tar"), b"data")
    assert list(tmp_path.iterdir()) == [], "nor a temporary file, which a full disk has no room for"


def test_bytes_are_on_the_disk_before_their_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    assert files.put_if_absent(str(tmp_path / "x.tar"), b"data")
    assert calls == [("fsync", ".tmp", True), ("link", ".tar", True), ("fsync", "folder", True)]
    calls.clear()
    files.overwrite(str(tmp_path / "x.tar"), b"data")
    assert calls == [("fsync", ".tmp", True), ("replace", ".tar", True), ("fsync", "folder", True)]


def test_missing_places_are_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="not-there"):
        files.read_bytes(str(tmp_path / "not-there"))
    with pytest.raises(StorageError, match="not-there"):
        files.list_files(str(tmp_path / "not-there"))


def test_a_file_in_place_of_a_folder_is_not_taken_for_what_is_put(tmp_path: Path) -> None:
    (tmp_path / "shards").write_bytes(b"")
    with pytest.raises(StorageError, match="shards/x: cannot be put"):
        files.put_if_absent(str(tmp_path / "shards" / "x"), b"data")


def test_secrets_are_not_written_down() -> None:
    assert files.without_secrets("s3://key:secret@bucket/a?X-Sig=1") == "s3://bucket/a"
    assert files.without_secrets("s3://bucket/a/b") == "s3://bucket/a/b"
    assert files.without_secrets("github://owner:repository@main/a") == "github://owner:repository@main/a"
    assert not files._PASSWORD.match("github://owner:repository@main/a")
    assert files.without_secrets("out/demo/") == "out/demo/"
