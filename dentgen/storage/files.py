"""Files on a disk or in an object store: list, read, conditional writes.

With ``conditional_put`` the only code that knows local from S3. Files are created once; only ``overwrite``, for the few
files that hold the latest state, and ``replace_if_unchanged``, for locks, replace them. Credentials come from the
environment alone. Transient S3 errors (500, 503, slow down, resets) are retried by botocore and s3fs.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import IO, Any, Concatenate, Final, ParamSpec, TypeVar
from urllib.parse import urlsplit

from fsspec.implementations.local import LocalFileSystem

from dentgen.errors import RefusedFileError, StorageError
from dentgen.redaction import redacted
from dentgen.storage import conditional_put
from dentgen.storage.places import is_web, locate, without_secrets

#: Libraries whose errors say that a store or a server failed, though they are no OSErrors.
_CLIENTS: Final = frozenset({"botocore", "aiohttp"})


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file in a listing: its URL, size in bytes, and a tag that changes when its content does."""

    url: str
    size: int
    tag: str


_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")
_Operation = Callable[Concatenate[str, _Arguments], _Result]


def _maps_errors(action: str) -> Callable[[_Operation[_Arguments, _Result]], _Operation[_Arguments, _Result]]:
    """Turn OSError and botocore's errors into StorageError with the URL (s3fs re-raises botocore's, no OSErrors)."""

    def decorate(operation: _Operation[_Arguments, _Result]) -> _Operation[_Arguments, _Result]:
        @wraps(operation)
        def mapped(url: str, /, *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
            try:
                return operation(url, *args, **kwargs)
            except Exception as error:
                if not isinstance(error, OSError) and type(error).__module__.partition(".")[0] not in _CLIENTS:
                    raise
                kind = RefusedFileError if action == "read" and isinstance(error, PermissionError) else StorageError
                # tracebacks show the text of the cause as it is
                cause = error if redacted(str(error)) == str(error) else None
                raise kind(f"cannot be {action}: {error}", file=without_secrets(url)) from cause

        return mapped

    return decorate


def join(root: str, *parts: str) -> str:
    """Join URL or path segments with single slashes; an empty root is the current folder."""
    segments = [part.strip("/") for part in parts]
    if not root:
        return "/".join(segments)
    return "/".join([root.rstrip("/"), *segments])


def name_of(url: str) -> str:
    """Last segment of a URL or path."""
    return url.rstrip("/").rsplit("/", 1)[-1]


@_maps_errors("listed")
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


@_maps_errors("read")
def exists(url: str) -> bool:
    """Whether a file or folder is there.

    Raises:
        StorageError: If the storage cannot be reached.
    """
    fs, path = locate(url)
    fs.invalidate_cache()  # another process may just have written it
    return bool(fs.exists(path))


@_maps_errors("read")
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


@_maps_errors("listed")
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


@_maps_errors("read")
def open_read(url: str) -> IO[bytes]:
    """Open for seekable reading.

    Raises:
        RefusedFileError: If access to this file is denied.
        StorageError: If it cannot be opened.
    """
    fs, path = locate(url)
    handle: IO[bytes] = fs.open(path, "rb")
    return handle


@_maps_errors("read")
def read_bytes(url: str) -> bytes:
    """Whole content of a file.

    Raises:
        StorageError: If the file cannot be read.
    """
    fs, path = locate(url)
    content: bytes = fs.cat_file(path)
    return content


@_maps_errors("read")
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


@_maps_errors("read")
def read_range(url: str, start: int, stop: int) -> bytes:
    """Bytes ``start`` to ``stop`` of a file, in one request.

    Raises:
        StorageError: If the file cannot be read.
    """
    fs, path = locate(url)
    content: bytes = fs.cat_file(path, start=start, end=stop)
    return content if len(content) <= stop - start else content[start:stop]  # a web server may send the whole file


@_maps_errors("written")
def put_if_absent(url: str, data: bytes) -> bool:
    """Publish ``data`` under ``url`` unless something is there already, atomically.

    Local: temporary file in the same folder, fsync, hard link to the final name. Elsewhere: one create-only PUT. After
    a lost answer the retry finds its own object: False does not say who created it.

    Returns:
        True if this call created the file, False if it existed.

    Raises:
        StorageError: If nothing could be written.
    """
    fs, path = _locate_to_write(url)
    return conditional_put.put_if_absent(fs, path, data)


@_maps_errors("written")
def put_tagged(url: str, data: bytes) -> str | None:
    """As ``put_if_absent``, for a caller who wants to know later, without reading, whether the file is still its own.

    Returns:
        What ``tag_of`` says as long as nothing has replaced the file that this call created; "" if the storage does not
        tell; None if a file existed.

    Raises:
        StorageError: If nothing could be written.
    """
    fs, path = _locate_to_write(url)
    return conditional_put.put_tagged(fs, path, data)


@_maps_errors("read")
def tag_of(url: str) -> str:
    """What tells the file at ``url`` from one that replaces it, by one look at its name; "" if the storage has no such.

    Raises:
        StorageError: If there is no file, or the storage cannot be reached.
    """
    fs, path = locate(url)
    return conditional_put.tag_of(fs, path)


@_maps_errors("written")
def require_create_only(url: str, data: bytes) -> None:
    """Check that a storage honours create-only writes: writing a file again that was just written must fail.

    Raises:
        StorageError: If the second write succeeded: a build there could overwrite what another process committed.
    """
    fs, path = _locate_to_write(url)
    if isinstance(fs, LocalFileSystem):
        return
    went_through = conditional_put.put_if_absent(fs, path, data)
    if went_through:
        raise StorageError(
            file=without_secrets(url), found=f"{type(fs).__name__}, which overwrites what exists",
            expected="a storage with create-only writes",
        )  # fmt: skip


@_maps_errors("written")
def require_writable(url: str) -> None:
    """Check that conditional writes into a folder are possible, before anything stands there; it need not exist yet.

    Tried on local disks, where links and locks may be missing. Of other stores only those are refused that nobody can
    write to; ``require_create_only`` asks the rest.

    Raises:
        StorageError: If they are not.
    """
    fs, path = _locate_to_write(url)
    conditional_put.require_fit_folder(fs, path)


@_maps_errors("written")
def overwrite(url: str, data: bytes) -> None:
    """Publish ``data`` under ``url``, replacing what is there, atomically.

    Raises:
        StorageError: If nothing could be written.
    """
    fs, path = _locate_to_write(url)
    conditional_put.overwrite(fs, path, data)


@_maps_errors("written")
def overwrite_from(url: str, file: Path) -> None:
    """Publish a local file's content under ``url``, replacing what is there, atomically and without reading it whole.

    Raises:
        StorageError: If nothing could be written.
    """
    fs, path = _locate_to_write(url)
    conditional_put.overwrite_from(fs, path, file)


@_maps_errors("written")
def replace_if_unchanged(url: str, expected: bytes, data: bytes) -> bool:
    """Publish ``data`` under ``url`` if its content is exactly ``expected`` (compare-and-swap).

    Local: compared and replaced under a lock on the file, by ``rename``. S3: a PUT on the condition (``If-Match``) that
    the object is still the one that was read; after a lost answer the retry finds its own object, so False does not say
    who wrote it. Elsewhere: read, compared and written, which a concurrent writer can break.

    Returns:
        True if this call replaced the file, False if it is missing or has other content.

    Raises:
        StorageError: If nothing could be written.
    """
    fs, path = _locate_to_write(url)
    return conditional_put.replace_if_unchanged(fs, path, expected, data)


@_maps_errors("removed")
def remove_if_unchanged(url: str, expected: bytes) -> bool:
    """Remove a file if its content is exactly ``expected``, with the guarantees of ``replace_if_unchanged``.

    Raises:
        StorageError: If it could not be removed.
    """
    fs, path = _locate_to_write(url)
    return conditional_put.remove_if_unchanged(fs, path, expected)


@_maps_errors("removed")
def remove(url: str) -> None:
    """Remove one file; it may be gone already.

    Raises:
        StorageError: If it cannot be removed.
    """
    fs, path = _locate_to_write(url)
    try:
        fs.rm_file(path)
    except FileNotFoundError:
        return


@_maps_errors("removed")
def remove_if_empty(url: str) -> None:
    """Remove a local folder if it is there and empty; object stores have no folders.

    Raises:
        StorageError: If it cannot be removed.
    """
    fs, path = locate(url)
    if isinstance(fs, LocalFileSystem) and Path(path).is_dir() and not any(os.scandir(path)):
        Path(path).rmdir()


def relative_name(root: str, url: str) -> str:
    """Name of a file under ``root``, so that moving a folder renames nothing; its last segment if it is ``root``."""
    if is_web(url):
        return name_of(urlsplit(url).path)
    folder, path = locate(root)[1].rstrip("/"), locate(url)[1]
    return path.removeprefix(folder + "/") if path.startswith(folder + "/") else name_of(path)


def _locate_to_write(url: str) -> tuple[Any, str]:
    if is_web(url):
        raise StorageError(file=without_secrets(url), found="a web server", expected="storage that can be written")
    return locate(url)


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
