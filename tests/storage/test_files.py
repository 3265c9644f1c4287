"""Reading files of a disk, an object store and a web server."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dentgen import storage
from dentgen.errors import StorageError
from dentgen.storage import without_secrets


def test_round_trip(root: str) -> None:
    url = storage.join(root, "a", "b.bin")
    assert not storage.exists(url)
    assert storage.put_if_absent(url, b"first")
    assert storage.exists(url)
    assert storage.read_bytes(url) == b"first"
    assert not storage.put_if_absent(url, b"second")
    assert storage.read_bytes(url) == b"first", "a put name never changes"
    storage.overwrite(url, b"third")
    assert storage.read_bytes(url) == b"third"
    assert storage.list_names(storage.join(root, "a")) == ["b.bin"]
    assert storage.list_names(storage.join(root, "nothing")) == []
    assert [(storage.name_of(f.url), f.size) for f in storage.list_files(root)] == [("b.bin", 5)]


def test_passwords_in_urls_are_refused_and_never_shown() -> None:
    for url in ("ftp://user:hunter2@host/x", "s3://key:hunter2@bucket/x", "https://hunter2@host/x"):
        with pytest.raises(StorageError) as caught:
            storage.exists(url)
        assert caught.value.file == without_secrets(url)
        assert "hunter2" not in str(caught.value)


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
    assert storage.join(root, *parts) == joined


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
        assert storage.put_if_absent(storage.join(root, name), b"x" * number), name
    found = {storage.relative_name(root, file.url): (file.url, file.size) for file in storage.list_files(root)}
    assert {name: size for name, (_, size) in found.items()} == {name: n for n, name in enumerate(odd_names, 1)}
    names = storage.list_names(root)
    assert names == sorted(name.partition("/")[0] for name in odd_names)
    for number, name in enumerate(odd_names, 1):
        for url in (storage.join(root, name), found[name][0]):
            assert storage.exists(url)
            assert storage.read_bytes(url) == storage.read_range(url, 0, 99) == b"x" * number
            assert [file.size for file in storage.list_files(url)] == [number]
    for number, name in enumerate(odd_names, 1):
        url = storage.join(root, name)
        assert storage.replace_if_unchanged(url, b"x" * number, b"new")
        with storage.open_read(url) as file:
            assert file.read() == b"new"
        storage.overwrite(url, b"newer")
        if number % 2:
            storage.remove(url)
        else:
            assert storage.remove_if_unchanged(url, b"newer")
        assert not storage.exists(url)
        assert storage.read_if_exists(url) is None
        left = len(odd_names) - number
        assert sum(storage.exists(storage.join(root, other)) for other in odd_names) == left


@pytest.mark.slow
def test_thousands_of_keys_are_listed(s3_root: str) -> None:
    """S3 lists a thousand keys at a time."""
    import boto3

    client = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    bucket, _, prefix = storage.join(s3_root, "many").removeprefix("s3://").partition("/")
    for number in range(1_100):
        client.put_object(Bucket=bucket, Key=f"{prefix}/{number:04d}.tar", Body=b"")
    assert len(storage.list_files(f"s3://{bucket}/{prefix}")) == 1_100
    assert len(storage.list_names(f"s3://{bucket}/{prefix}/")) == 1_100


def test_a_link_to_a_parent_ends_the_listing_by_name(tmp_path: Path) -> None:
    (tmp_path / "s" / "sub").mkdir(parents=True)
    (tmp_path / "s" / "x.tar").write_bytes(b"")
    (tmp_path / "s" / "sub" / "up").symlink_to(tmp_path / "s")
    with pytest.raises(StorageError) as caught:
        storage.list_files(str(tmp_path / "s"))
    assert (caught.value.file, caught.value.found) == (str(tmp_path / "s" / "sub" / "up"), "a link to a folder")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(StorageError):
        storage.list_files(str(tmp_path / "loop"))


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
    (file,) = storage.list_files(url)
    assert (file.url, file.size) == (url, 10)
    assert storage.relative_name(url, file.url) == "x.tar"
    assert storage.read_range(url, 2, 5) == b"234"
    assert storage.read_bytes(url) == b"0123456789"
    assert storage.read_if_exists(f"{web}/y.tar") is None
    refused: tuple[tuple[Callable[[], object], str], ...] = (
        (lambda: storage.list_files(web), "a folder of a web server"),
        (lambda: storage.list_files(f"{web}/x.tar/?hunter2"), "a folder of a web server"),
        (lambda: storage.list_names(web), "a web server"),
        (lambda: storage.put_if_absent(url, b""), "a web server"),
        (lambda: storage.overwrite(url, b""), "a web server"),
        (lambda: storage.remove(url), "a web server"),
        (lambda: storage.list_files(f"{web}/y.tar?sig=hunter2"), ""),
    )
    for operation, found in refused:
        with pytest.raises(StorageError) as caught:
            operation()
        assert caught.value.found == found
        assert "hunter2" not in str(caught.value)


def test_of_a_large_file_a_part_may_be_read(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"0123456789")
    assert storage.read_if_exists(str(tmp_path / "x"), most=3) == b"012"
    assert storage.read_if_exists(str(tmp_path / "x"), most=30) == b"0123456789"
    assert storage.read_if_exists(str(tmp_path / "none"), most=3) is None
