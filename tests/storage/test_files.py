"""Storage: atomic and conditional writes, on disk and on a real S3 endpoint."""

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


def test_compare_and_swap(root: str) -> None:
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


def test_one_of_many_racing_swaps_wins(root: str) -> None:
    url = files.join(root, "raced-over")
    files.overwrite(url, b"first")
    contents = [bytes([n]) * 100 for n in range(6)]
    assert race(lambda n: files.replace_if_unchanged(url, b"first", contents[n]), 6) == 1
    assert files.read_bytes(url) in contents
    assert race(lambda n: files.remove_if_unchanged(url, files.read_if_exists(url) or b"gone"), 6) >= 1
    assert not files.exists(url)


@pytest.mark.parametrize("act", ["replace", "remove"])
def test_s3_refuses_a_swap_that_was_overtaken(act: str, s3_root: str, monkeypatch: pytest.MonkeyPatch) -> None:
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
def flaky_s3(s3_root: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """The S3 endpoint behind a proxy that fails as told."""
    import s3fs

    with fault_proxy(os.environ["AWS_ENDPOINT_URL"]) as proxy:
        host, port = proxy.server_address[:2]
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host!s}:{port}")
        s3fs.S3FileSystem.clear_instance_cache()
        yield proxy
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.mark.parametrize("fault", ["500", "503", "reset"])
def test_transient_errors_are_retried(fault: str, flaky_s3: FaultProxy, s3_root: str) -> None:
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
        flaky_s3.plan = [fault, fault]
        assert operation() == expected
        assert flaky_s3.plan == [], "the faults came"


def test_create_only_conflicts_are_retried(flaky_s3: FaultProxy, s3_root: str) -> None:
    """AWS answers 409 where two create-only PUTs meet, and asks for another try."""
    flaky_s3.plan = ["409", "409"]
    assert files.put_if_absent(files.join(s3_root, "conflict"), b"x")
    assert flaky_s3.hit == ["PUT", "PUT"]


def test_a_put_whose_answer_is_lost_finds_its_own_object(flaky_s3: FaultProxy, s3_root: str) -> None:
    url = files.join(s3_root, "late")
    flaky_s3.plan = ["late"]
    assert not files.put_if_absent(url, b"mine")
    assert files.read_bytes(url) == b"mine"


@pytest.mark.parametrize("fault", ["500", "reset"])
def test_unreachable_storage_is_named(
    fault: str, flaky_s3: FaultProxy, s3_root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    url = files.join(s3_root, "down")
    flaky_s3.plan = [fault] * 1000
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
        with pytest.raises(StorageError) as caught:
            operation()
        assert caught.value.file == url
    flaky_s3.plan = []


def test_storages_without_create_only_writes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "memory://bucket/once"
    contents = [bytes([n]) for n in range(4)]
    assert files.put_if_absent(url, contents[0])
    files.require_create_only(url, contents[0])
    assert not files.put_if_absent(url, contents[1])
    monkeypatch.setattr(MemoryFileSystem, "pipe_file", lambda self, path, value, mode="overwrite": None)
    with pytest.raises(StorageError) as caught:
        files.require_create_only(url, contents[0])
    assert caught.value.file == url
    assert "MemoryFileSystem" in caught.value.found


def test_passwords_in_urls_are_refused_and_never_shown() -> None:
    for url in ("ftp://user:hunter2@host/x", "s3://key:hunter2@bucket/x", "https://hunter2@host/x"):
        with pytest.raises(StorageError) as caught:
            files.exists(url)
        assert caught.value.file == files.without_secrets(url)
        assert "hunter2" not in str(caught.value)


def test_failed_writes_leave_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(handle: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(StorageError, match="no space left") as caught:
        files.put_if_absent(str(tmp_path / "x.tar"), b"data")
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
    assert files.put_if_absent(str(tmp_path / "x.tar"), b"data")
    assert calls == [("fsync", ".tmp", True), ("link", ".tar", True), ("fsync", "folder", True)]
    calls.clear()
    files.overwrite(str(tmp_path / "x.tar"), b"data")
    assert calls == [("fsync", ".tmp", True), ("replace", ".tar", True), ("fsync", "folder", True)]


def test_missing_files_are_named(tmp_path: Path) -> None:
    for operation in (files.read_bytes, files.list_files):
        with pytest.raises(StorageError) as caught:
            operation(str(tmp_path / "not-there"))
        assert caught.value.file == str(tmp_path / "not-there")


def test_file_in_place_of_a_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "shards").write_bytes(b"")
    with pytest.raises(StorageError) as caught:
        files.put_if_absent(str(tmp_path / "shards" / "x"), b"data")
    assert caught.value.file.endswith("shards/x")


@pytest.mark.parametrize(
    ("root", "parts", "joined"),
    [
        ("", ("plan", "a.json"), "plan/a.json"),
        ("/", ("plan",), "/plan"),
        ("out/", ("/plan/", "a"), "out/plan/a"),
        ("s3://bucket/a", ("b",), "s3://bucket/a/b"),
    ],
)
def test_join_uses_single_slashes(root: str, parts: tuple[str, ...], joined: str) -> None:
    assert files.join(root, *parts) == joined


def test_a_local_file_is_published_whole(root: str, tmp_path: Path) -> None:
    content = os.urandom(3_000_000)
    (tmp_path / "local").write_bytes(content)
    url = files.join(root, "published", "table")
    files.overwrite(url, b"older")
    files.overwrite_from(url, tmp_path / "local")
    assert files.read_bytes(url) == content
    assert files.list_names(files.join(root, "published")) == ["table"]


def test_secrets_are_removed_from_urls() -> None:
    assert files.without_secrets("s3://key:secret@bucket/a?X-Sig=1") == "s3://bucket/a"
    assert files.without_secrets("s3://bucket/a/b") == "s3://bucket/a/b"
    assert files.without_secrets("github://owner:repository@main/a") == "github://owner:repository@main/a"
    assert not files._PASSWORD.match("github://owner:repository@main/a")
    assert files.without_secrets("out/demo/") == "out/demo/"
