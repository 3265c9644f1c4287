"""Files on a disk or in an object store: names, lists, reading.

Credentials come from the environment alone. Transient S3 errors (500, 503, slow down, resets) are retried by botocore
and s3fs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from fsspec.implementations.local import LocalFileSystem

from dentgen.errors import StorageError
from dentgen.storage.places import is_web, locate, without_secrets
from dentgen.storage.store_errors import maps_errors


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file in a listing: its URL, size in bytes, and a tag that changes when its content does."""

    url: str
    size: int
    tag: str


def join(root: str, *parts: str) -> str:
    """Join URL or path segments with single slashes; an empty root is the current folder."""
    segments = [part.strip("/") for part in parts]
    if not root:
        return "/".join(segments)
    return "/".join([root.rstrip("/"), *segments])


def name_of(url: str) -> str:
    """Last segment of a URL or path."""
    return url.rstrip("/").rsplit("/", 1)[-1]


@maps_errors("listed")
def list_files(url: str) -> list[StoredFile]:
    """All files under ``url`` (recursively), or the one file it names, in the storage's order.

    Raises:
        StorageError: If nothing is there or it cannot be listed.
    """
    fs, path = locate(url)
    if is_web(url):
        return [_web_file(url, fs)]
    fs.invalidate_cache()  # another process may just have written something
    local = isinstance(fs, LocalFileSystem) and fs.isdir(path)
    try:
        # by default fsspec silently skips folders that it cannot list
        found = fs.find(path, detail=True, on_error="raise") if local else fs.find(path, detail=True)
    except ValueError as error:
        raise StorageError(f"cannot be listed: {error}", file=without_secrets(url)) from error
    if not found:
        raise StorageError(file=without_secrets(url), found="nothing", expected="a file or a folder with files")
    return [StoredFile(_url_of(fs, name), int(info["size"]), _tag(info)) for name, info in found.items() if _file(info)]


@maps_errors("read")
def exists(url: str) -> bool:
    """Whether a file or folder is there.

    Raises:
        StorageError: If the storage cannot be reached.
    """
    fs, path = locate(url)
    fs.invalidate_cache()  # another process may just have written it
    return bool(fs.exists(path))


@maps_errors("read")
def file_state(url: str) -> StoredFile:
    """One file as ``list_files`` would list it now.

    Raises:
        StorageError: If it is not there or the storage cannot be reached.
    """
    fs, path = locate(url)
    if is_web(url):
        return _web_file(url, fs)
    fs.invalidate_cache(path)
    info = fs.info(path)
    return StoredFile(url, int(info["size"]), _tag(info))


@maps_errors("listed")
def list_names(url: str) -> list[str]:
    """Sorted names directly under a folder; empty if the folder does not exist.

    Raises:
        StorageError: If the storage cannot be reached.
    """
    fs, path = locate(url)
    if is_web(url):
        raise StorageError(file=without_secrets(url), found="a web server", expected="a folder: servers list none")
    try:
        fs.invalidate_cache(path)
        return sorted(name_of(name) for name in fs.ls(path, detail=False))
    except FileNotFoundError:
        return []


@maps_errors("read")
def open_read(url: str) -> IO[bytes]:
    """Open for seekable reading.

    Raises:
        RefusedFileError: If access to this file is denied.
        StorageError: If it cannot be opened.
    """
    fs, path = locate(url)
    handle: IO[bytes] = fs.open(path, "rb")
    return handle


@maps_errors("read")
def read_bytes(url: str) -> bytes:
    """Whole content of a file.

    Raises:
        StorageError: If the file cannot be read.
    """
    fs, path = locate(url)
    content: bytes = fs.cat_file(path)
    return content


@maps_errors("read")
def read_if_exists(url: str, most: int | None = None) -> bytes | None:
    """Content of a file, None if there is none.

    Args:
        url: The file.
        most: Bytes that are read of a larger file; None reads all.

    Raises:
        StorageError: If the storage cannot be reached.
    """
    fs, path = locate(url)
    fs.invalidate_cache(path)  # another process may just have written or removed it
    try:
        content: bytes = fs.cat_file(path, start=0 if most else None, end=most)
    except FileNotFoundError:
        return None
    return content


@maps_errors("read")
def read_range(url: str, start: int, stop: int) -> bytes:
    """Bytes ``start`` to ``stop`` of a file, in one request.

    Raises:
        StorageError: If the file cannot be read.
    """
    fs, path = locate(url)
    content: bytes = fs.cat_file(path, start=start, end=stop)
    return content if len(content) <= stop - start else content[start:stop]  # a web server may send the whole file


def relative_name(root: str, url: str) -> str:
    """Name of a file under ``root``, so that moving a folder renames nothing; its last segment if it is ``root``."""
    if is_web(url):
        return name_of(urlsplit(url).path)
    folder, path = locate(root)[1].rstrip("/"), locate(url)[1]
    return path.removeprefix(folder + "/") if path.startswith(folder + "/") else name_of(path)


def _web_file(url: str, fs: Any) -> StoredFile:
    """The one file that the address of a web server names."""
    place, name = without_secrets(url), urlsplit(url).path.rpartition("/")[2]
    if "." not in name:
        raise StorageError(file=place, found="a folder of a web server", expected="one file: such folders have no list")
    info = fs.info(url)
    if info.get("size") is None:
        raise StorageError(file=place, found="an answer without its size", expected="a file")
    return StoredFile(url, int(info["size"]), str(info.get("ETag") or info.get("Last-Modified") or ""))


def _url_of(fs: Any, name: str) -> str:
    return name if isinstance(fs, LocalFileSystem) else str(fs.unstrip_protocol(name))


def _file(info: dict[str, Any]) -> bool:
    """Whether a listing's entry is a file or a link to one; any other link would be lost silently."""
    if info.get("islink") and not Path(info["name"]).is_file():
        found = "a link to a folder" if Path(info["name"]).is_dir() else "a broken link"
        raise StorageError(file=info["name"], found=found, expected="files, folders, or links to files")
    return bool(info["type"] == "file" or info.get("islink"))


def _tag(info: dict[str, Any]) -> str:
    if info.get("islink"):  # whose own time says nothing about the file that it names
        return str(Path(info["name"]).stat().st_mtime)
    return str(info.get("ETag") or info.get("mtime") or info.get("LastModified") or "")
