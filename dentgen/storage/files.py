"""Files on a disk or in an object store: list, read, conditional writes.

With ``conditional_put`` the only code that knows local from S3. Files are created once; only ``overwrite``, for the few
files that hold the latest state, and ``replace_if_unchanged``, for locks, replace them. Credentials come from the
environment alone. Transient S3 errors (500, 503, slow down, resets) are retried by botocore and s3fs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import IO, Any, Concatenate, Final, ParamSpec, TypeVar

import fsspec
from fsspec.implementations.local import LocalFileSystem

from dentgen.errors import RefusedFileError, StorageError
from dentgen.storage import conditional_put

#: Attempts at one request to S3; AWS_MAX_ATTEMPTS and AWS_RETRY_MODE of the environment win.
S3_ATTEMPTS: Final = 8
#: A password before a host, or anything before a web server's: a token. ``github`` has OWNER:REPOSITORY there.
_PASSWORD: Final = re.compile(r"^(?!github:)(https?://[^/@]*@|[a-z0-9+.-]+://[^/@]*:[^/@]*@)", re.IGNORECASE)


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
                if not isinstance(error, OSError) and type(error).__module__ != "botocore.exceptions":
                    raise
                raise StorageError(f"cannot be {action}: {error}", file=without_secrets(url)) from error

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
    fs, path = _resolve(url)
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
    fs, path = _resolve(url)
    fs.invalidate_cache()  # another process may just have written it
    return bool(fs.exists(path))


@_maps_errors("listed")
def list_names(url: str) -> list[str]:
    """Sorted names directly under a folder; empty if the folder does not exist.

    Raises:
        StorageError: If the storage cannot be reached.
    """
    fs, path = _resolve(url)
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
    fs, path = _resolve(url)
    try:
        handle: IO[bytes] = fs.open(path, "rb")
    except PermissionError as error:
        raise RefusedFileError(f"permission denied: {error}", file=without_secrets(url)) from error
    return handle


@_maps_errors("read")
def read_bytes(url: str) -> bytes:
    """Whole content of a file.

    Raises:
        StorageError: If the file cannot be read.
    """
    fs, path = _resolve(url)
    content: bytes = fs.cat_file(path)
    return content


@_maps_errors("read")
def read_if_exists(url: str) -> bytes | None:
    """Whole content of a file, None if there is none.

    Raises:
        StorageError: If the storage cannot be reached.
    """
    fs, path = _resolve(url)
    fs.invalidate_cache(path)  # another process may just have written or removed it
    try:
        content: bytes = fs.cat_file(path)
    except FileNotFoundError:
        return None
    return content


@_maps_errors("read")
def read_range(url: str, start: int, stop: int) -> bytes:
    """Bytes ``start`` to ``stop`` of a file, in one request.

    Raises:
        StorageError: If the file cannot be read.
    """
    fs, path = _resolve(url)
    content: bytes = fs.cat_file(path, start=start, end=stop)
    return content


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
    fs, path = _resolve(url)
    return conditional_put.put_if_absent(fs, path, data)


@_maps_errors("written")
def require_create_only(url: str, data: bytes) -> None:
    """Check that a storage honours create-only writes: writing a file again that was just written must fail.

    Raises:
        StorageError: If the second write succeeded: a build there could overwrite what another process committed.
    """
    fs, path = _resolve(url)
    if isinstance(fs, LocalFileSystem):
        return
    went_through = conditional_put.put_if_absent(fs, path, data)
    if went_through:
        raise StorageError(
            file=without_secrets(url), found=f"{type(fs).__name__}, which overwrites what exists",
            expected="a storage with create-only writes",
        )  # fmt: skip


@_maps_errors("written")
def overwrite(url: str, data: bytes) -> None:
    """Publish ``data`` under ``url``, replacing what is there, atomically.

    Raises:
        StorageError: If nothing could be written.
    """
    fs, path = _resolve(url)
    conditional_put.overwrite(fs, path, data)


@_maps_errors("written")
def overwrite_from(url: str, file: Path) -> None:
    """Publish a local file's content under ``url``, replacing what is there, atomically and without reading it whole.

    Raises:
        StorageError: If nothing could be written.
    """
    fs, path = _resolve(url)
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
    fs, path = _resolve(url)
    return conditional_put.replace_if_unchanged(fs, path, expected, data)


@_maps_errors("removed")
def remove_if_unchanged(url: str, expected: bytes) -> bool:
    """Remove a file if its content is exactly ``expected``, with the guarantees of ``replace_if_unchanged``.

    Raises:
        StorageError: If it could not be removed.
    """
    fs, path = _resolve(url)
    return conditional_put.remove_if_unchanged(fs, path, expected)


@_maps_errors("removed")
def remove(url: str) -> None:
    """Remove one file; it may be gone already.

    Raises:
        StorageError: If it cannot be removed.
    """
    fs, path = _resolve(url)
    try:
        fs.rm_file(path)
    except FileNotFoundError:
        return


def is_remote(url: str) -> bool:
    """Whether a URL names something that is not a path on this machine."""
    return "://" in url and not url.startswith(("file://", "local://"))


def relative_name(root: str, url: str) -> str:
    """Name of a file under ``root``, so that moving a folder renames nothing; its last segment if it is ``root``."""
    folder, path = _resolve(root)[1].rstrip("/"), _resolve(url)[1]
    return path.removeprefix(folder + "/") if path.startswith(folder + "/") else name_of(path)


def without_secrets(url: str) -> str:
    """The URL for logs and metadata: without user, password and query."""
    scheme, found, rest = url.partition("://")
    if not found or scheme.lower() == "github":
        return url
    host, slash, path = rest.split("?")[0].partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def _resolve(url: str) -> tuple[Any, str]:
    if _PASSWORD.match(url):
        raise StorageError(file=without_secrets(url), found="a password in the URL", expected="it in the environment")
    options = _s3_options() if _is_s3(url) else {}
    try:
        fs, path = fsspec.core.url_to_fs(url, **options)
    except (ValueError, ImportError) as error:
        raise StorageError(str(error), file=without_secrets(url)) from error
    return fs, path


def _is_s3(url: str) -> bool:
    return url.startswith(("s3://", "s3a://"))


def _s3_options() -> Mapping[str, Any]:
    """Retries of botocore, and of s3fs where two create-only PUTs collide (409, which AWS asks to retry)."""
    from s3fs.core import set_custom_error_handler

    set_custom_error_handler(lambda error: "ConditionalRequestConflict" in str(error))
    attempts = os.environ.get("AWS_MAX_ATTEMPTS", str(S3_ATTEMPTS))
    if not attempts.isdecimal():
        raise StorageError(key="AWS_MAX_ATTEMPTS", found=repr(attempts), expected="a whole number")
    retries = {
        "max_attempts": int(attempts),
        "mode": os.environ.get("AWS_RETRY_MODE", "standard"),
    }
    return {"config_kwargs": {"retries": retries}}


def _url_of(fs: Any, name: str) -> str:
    return name if isinstance(fs, LocalFileSystem) else str(fs.unstrip_protocol(name))


def _file(info: dict[str, Any]) -> bool:
    """Whether a listing's entry is a file or a link to one; any other link would be lost silently."""
    if info.get("islink") and not Path(info["name"]).is_file():
        raise StorageError(file=info["name"], found="a broken link", expected="files or links to files")
    return bool(info["type"] == "file" or info.get("islink"))


def _tag(info: dict[str, Any]) -> str:
    return str(info.get("ETag") or info.get("mtime") or info.get("LastModified") or "")
