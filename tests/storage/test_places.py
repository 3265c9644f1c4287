"""Places: a path is taken as it stands, a URL is one location in one store, and no scheme surprises anybody."""

from __future__ import annotations

from pathlib import Path

import pytest
from fsspec.implementations.local import LocalFileSystem

from dentgen.errors import StorageError
from dentgen.storage import places
from dentgen.storage.places import absolute, expanded, is_remote, locate

#: Names that shells, globs, URLs or fsspec's chains would read something into.
NAMES = (
    "thesis::v2", "zip::x", "a*b", "a[x]b", "a?b", "a#b", "a%41b", "a+b", "a b", "a\nb", "a\\nb", "a:b", "{a}", "~",
    "~a", "caf\u00e9", "cafe\u0301", "s3:x", "file:x", "local:x", "data:x", "memory::x", "c:", "-x",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_path_is_taken_as_it_stands(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    places_of_name = [str(tmp_path / name), f"sub/{name}", f"./{name}"] + [name] * (name != "~")
    for place in places_of_name:
        fs, path = locate(place)
        assert isinstance(fs, LocalFileSystem)
        assert path == str(tmp_path / place)
        assert not is_remote(place)


@pytest.mark.parametrize("name", NAMES)
def test_a_url_is_one_key_of_one_store(name: str) -> None:
    fs, path = locate(f"s3://bucket/{name}")
    assert type(fs).__name__ == "S3FileSystem"
    assert path == f"bucket/{name}"


def test_the_home_folder_and_file_urls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/x")
    found = {
        "~": "/home/x",
        "~/a b": "/home/x/a b",
        "file:///x%20y": "/x y",
        "FILE:///x%zz": "/x%zz",
        "file://localhost/x": "/x",
        "local:///x::y?z#1": "/x::y?z#1",
        "S3://Bucket/Key": "s3://Bucket/Key",
        "/x%20y": "/x%20y",
        "file:///x%2520y": "/x%20y",
    }
    for place, expected in found.items():
        assert expanded(place) == absolute(place) == expected
        assert expanded(expected) == expected, "expanding twice changes nothing"
    monkeypatch.chdir("/")
    assert (absolute("~x"), absolute("a/./b/../c"), absolute("")) == ("/~x", "/a/b/../c", "/")


@pytest.mark.parametrize(
    ("place", "found"),
    [
        ("file://host/x", "the host 'host'"),
        ("file://", "no path"),
        ("foo://x", "the unknown scheme foo"),
        ("zip://x.zip", "zip, which wraps other storage"),
        ("simplecache://x", "simplecache, which wraps other storage"),
        ("data://x", "data, which wraps other storage"),
        ("https://token@host/x.tar", "a password in the URL"),
        ("s3://key:a/secret@bucket", "a password in the URL"),
        ("s3://key:@bucket", "a password in the URL"),
        ("/a\0b", "a null character"),
    ],
)
def test_other_places_are_refused_in_a_sentence(place: str, found: str) -> None:
    with pytest.raises(StorageError) as caught:
        locate(place)
    assert caught.value.found == found
    assert "secret" not in str(caught.value)
    assert "token" not in str(caught.value)


def test_a_missing_package_is_named() -> None:
    with pytest.raises(StorageError) as caught:
        locate("box://bucket/x")
    assert caught.value.found == "a URL of box"
    assert "install" in caught.value.advice


def test_secrets_are_no_part_of_a_place() -> None:
    assert places.without_secrets("https://host/x.tar?X-Amz-Signature=1") == "https://host/x.tar"
    assert places.without_secrets("s3://key:a/b@bucket/x") == "s3://bucket/x"
    assert places.without_secrets("s3://bucket/is it?.tar") == "s3://bucket/is it?.tar"
    assert places.without_secrets("a/b?c=d://e@f") == "a/b?c=d://e@f"
    assert places.without_secrets("sftp://user@host/x") == "sftp://host/x"
