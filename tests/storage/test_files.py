"""Storage: atomic and conditional writes, on disk and on a real S3 endpoint."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from dentgen.errors import StorageError
from dentgen.storage import conditional_put, files, without_secrets
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


def test_the_tag_of_a_put_holds_until_the_file_is_replaced(root: str) -> None:
    """By content of the same length, too; in S3 equal content may keep it."""
    url = files.join(root, "tagged")
    tag = files.put_tagged(url, b"first")
    assert tag
    assert files.tag_of(url) == tag
    assert files.put_tagged(url, b"other") is None
    assert files.tag_of(url) == tag
    files.overwrite(url, b"other")
    assert files.tag_of(url) not in {tag, ""}
    files.remove(url)
    with pytest.raises(StorageError) as caught:
        files.tag_of(url)
    assert caught.value.file == url


@pytest.mark.slow
def test_an_object_that_is_uploaded_in_parts_has_a_tag(s3_root: str) -> None:
    """S3 makes it of the parts' digests, and the upload's last answer does not tell it."""
    url, content = files.join(s3_root, "in-parts"), bytes(101 * 2**20)
    tag = files.put_tagged(url, content)
    assert files.tag_of(url) == tag
    assert tag is not None
    assert tag.endswith('-3"')


def test_other_storages_have_no_tags() -> None:
    url = "memory://bucket/untagged"
    assert files.put_tagged(url, b"first") == ""
    assert files.tag_of(url) == ""
    assert files.put_tagged(url, b"first") is None


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


@pytest.mark.parametrize("fault", ["reset", *(pytest.param(code, marks=pytest.mark.slow) for code in ("500", "503"))])
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


@pytest.mark.slow
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
        assert caught.value.file == without_secrets(url)
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
    assert without_secrets("s3://key:secret@bucket/a?X-Sig=1") == "s3://bucket/a"
    assert without_secrets("s3://bucket/a/b") == "s3://bucket/a/b"
    assert without_secrets("github://owner:repository@main/a") == "github://owner:repository@main/a"
    assert without_secrets("out/demo/") == "out/demo/"


#: Names that shells, globs, URLs, terminals or fsspec's chains read something into; all are different files.
ODD_NAMES = (
    "scan::2.tar", "a*b.tar", "a[x]b.tar", "ax", "a?b.tar", "a#b.tar", "a%41b.tar", "aAb.tar", "a+b.tar", "a b.tar",
    "a\nb.tar", "a\\nb.tar", "caf\u00e9.tar", "cafe\u0301.tar", "**", "{a,b}.tar", "~", "-x", "file:x",
    "2023::run/x.tar",
)  # fmt: skip


@pytest.mark.slow
def test_odd_names_are_names(root: str) -> None:
    """Every operation touches the file of exactly this name, on disk and on S3; moto knows no keys with line breaks."""
    odd_names = [name for name in ODD_NAMES if "\n" not in name or not root.startswith("s3://")]
    for number, name in enumerate(odd_names, 1):
        assert files.put_if_absent(files.join(root, name), b"x" * number), name
    found = {files.relative_name(root, file.url): (file.url, file.size) for file in files.list_files(root)}
    assert {name: size for name, (_, size) in found.items()} == {name: n for n, name in enumerate(odd_names, 1)}
    names = files.list_names(root)
    assert names == sorted(name.partition("/")[0] for name in odd_names)
    for number, name in enumerate(odd_names, 1):
        for url in (files.join(root, name), found[name][0]):
            assert files.exists(url)
            assert files.read_bytes(url) == files.read_range(url, 0, 99) == b"x" * number
            assert [file.size for file in files.list_files(url)] == [number]
    for number, name in enumerate(odd_names, 1):
        url = files.join(root, name)
        assert files.replace_if_unchanged(url, b"x" * number, b"new")
        with files.open_read(url) as file:
            assert file.read() == b"new"
        files.overwrite(url, b"newer")
        if number % 2:
            files.remove(url)
        else:
            assert files.remove_if_unchanged(url, b"newer")
        assert not files.exists(url)
        assert files.read_if_exists(url) is None
        left = len(odd_names) - number
        assert sum(files.exists(files.join(root, other)) for other in odd_names) == left


@pytest.mark.slow
def test_thousands_of_keys_are_listed(s3_root: str) -> None:
    """S3 lists a thousand keys at a time."""
    import boto3

    client = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    bucket, _, prefix = files.join(s3_root, "many").removeprefix("s3://").partition("/")
    for number in range(1_100):
        client.put_object(Bucket=bucket, Key=f"{prefix}/{number:04d}.tar", Body=b"")
    assert len(files.list_files(f"s3://{bucket}/{prefix}")) == 1_100
    assert len(files.list_names(f"s3://{bucket}/{prefix}/")) == 1_100


def test_a_link_to_a_parent_ends_the_listing_by_name(tmp_path: Path) -> None:
    (tmp_path / "s" / "sub").mkdir(parents=True)
    (tmp_path / "s" / "x.tar").write_bytes(b"")
    (tmp_path / "s" / "sub" / "up").symlink_to(tmp_path / "s")
    with pytest.raises(StorageError) as caught:
        files.list_files(str(tmp_path / "s"))
    assert (caught.value.file, caught.value.found) == (str(tmp_path / "s" / "sub" / "up"), "a link to a folder")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(StorageError):
        files.list_files(str(tmp_path / "loop"))


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """A web server over a folder with one file; it ignores ranges, as Python's does."""
    from functools import partial
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "x.tar").write_bytes(b"0123456789")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "web"))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_a_web_server_serves_single_files_for_reading(web: str) -> None:
    url = f"{web}/x.tar?X-Amz-Signature=hunter2"
    (file,) = files.list_files(url)
    assert (file.url, file.size) == (url, 10)
    assert files.relative_name(url, file.url) == "x.tar"
    assert files.read_range(url, 2, 5) == b"234"
    assert files.read_bytes(url) == b"0123456789"
    assert files.read_if_exists(f"{web}/y.tar") is None
    refused: tuple[tuple[Callable[[], object], str], ...] = (
        (lambda: files.list_files(web), "a folder of a web server"),
        (lambda: files.list_files(f"{web}/x.tar/?hunter2"), "a folder of a web server"),
        (lambda: files.list_names(web), "a web server"),
        (lambda: files.put_if_absent(url, b""), "a web server"),
        (lambda: files.overwrite(url, b""), "a web server"),
        (lambda: files.remove(url), "a web server"),
        (lambda: files.list_files(f"{web}/y.tar?sig=hunter2"), ""),
    )
    for operation, found in refused:
        with pytest.raises(StorageError) as caught:
            operation()
        assert caught.value.found == found
        assert "hunter2" not in str(caught.value)


def test_a_folder_is_removed_if_it_is_empty(tmp_path: Path) -> None:
    for name in ("full/inside", "empty"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("full", "empty", "none"):
        files.remove_if_empty(str(tmp_path / name))
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["full", "inside"]


def test_of_a_large_file_a_part_may_be_read(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"0123456789")
    assert files.read_if_exists(str(tmp_path / "x"), most=3) == b"012"
    assert files.read_if_exists(str(tmp_path / "x"), most=30) == b"0123456789"
    assert files.read_if_exists(str(tmp_path / "none"), most=3) is None
