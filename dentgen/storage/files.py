"""Files on a disk or in an object store: list, read, put-if-absent.

With ``puts``, which has the ways of putting, the only code that knows local from S3. It refuses to know what the bytes
mean. A name, once put, is never changed; only ``overwrite`` replaces, for the few "latest copy" files, and
``replace_if_unchanged``, for what processes agree by. Credentials come from the environment alone. What S3 answers in
passing (500, 503, slow down, a reset) is tried again with backoff by botocore and s3fs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
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


def _reached(
    operation: Callable[Concatenate[str, _Arguments], _Result],
) -> Callable[Concatenate[str, _Arguments], _Result]:
    """A store that cannot be reached is an error that names the URL; botocore's are no OSErrors, s3fs hands them on."""

    @wraps(operation)
    def named(url: str, /, *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        try:
            return operation(url, *args, **kwargs)
        except Exception as error:
            if not isinstance(error, OSError) and type(error).__module__ != "botocore.exceptions":
                raise
            raise StorageError(f"{without_secrets(url)}: cannot be reached: {error}") from error

    return named


def join(root: str, *parts: str) -> str:
    """Join URL or path segments with single slashes."""
    return "/".join([root.rstrip("/") or "/", *(part.strip("/") for part in parts)])


def name_of(url: str) -> str:
    """Last segment of a URL or path."""
    return url.rstrip("/").rsplit("/", 1)[-1]


@_reached
def list_files(url: str) -> list[StoredFile]:
    """All files under ``url`` (recursively), or the one file it names, in whatever order the storage has them.

    Raises:
        StorageError: If nothing is there or the place cannot be listed.
    """
    fs, path = _resolve(url)
    fs.invalidate_cache()  # another process may just have put something
    local = isinstance(fs, LocalFileSystem) and fs.isdir(path)
    try:
        # fsspec leaves out folders that it cannot list, unless it is told otherwise
        found = fs.find(path, detail=True, on_error="raise") if local else fs.find(path, detail=True)
    except (OSError, ValueError) as error:
        raise StorageError(f"{url}: cannot be listed: {error}") from error
    if not found:
        raise StorageError(f"{url}: nothing is there, expected a file or a folder with files")
    return [StoredFile(_url_of(fs, name), int(info["size"]), _tag(info)) for name, info in found.items() if _file(info)]


@_reached
def exists(url: str) -> bool:
    """Whether a file or folder is there.

    Raises:
        StorageError: If the storage does not say.
    """
    fs, path = _resolve(url)
    fs.invalidate_cache()  # another process may just have put it
    return bool(fs.exists(path))


@_reached
def list_names(url: str) -> list[str]:
    """Sorted names directly under a folder; empty if the folder does not exist.

    Raises:
        StorageError: If the storage does not say.
    """
    fs, path = _resolve(url)
    try:
        fs.invalidate_cache(path)
        return sorted(name_of(name) for name in fs.ls(path, detail=False))
    except FileNotFoundError:
        return []


@_reached
def open_read(url: str) -> IO[bytes]:
    """Open for seekable reading.

    Raises:
        RefusedFileError: If the storage refuses this file.
        StorageError: If it cannot be opened.
    """
    fs, path = _resolve(url)
    try:
        handle: IO[bytes] = fs.open(path, "rb")
    except PermissionError as error:
        raise RefusedFileError(f"{url}: may not be read: {error}") from error
    except OSError as error:
        raise StorageError(f"{url}: cannot be read: {error}") from error
    return handle


@_reached
def read_bytes(url: str) -> bytes:
    """Whole content of a file.

    Raises:
        StorageError: If the file cannot be read.
    """
    fs, path = _resolve(url)
    try:
        content: bytes = fs.cat_file(path)
    except OSError as error:
        raise StorageError(f"{url}: cannot be read: {error}") from error
    return content


@_reached
def read_if_exists(url: str) -> bytes | None:
    """Whole content of a file, None if there is none.

    Raises:
        StorageError: If the storage does not say.
    """
    fs, path = _resolve(url)
    fs.invalidate_cache(path)  # another process may just have put or removed it
    try:
        content: bytes = fs.cat_file(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"{url}: cannot be read: {error}") from error
    return content


@_reached
def read_range(url: str, start: int, stop: int) -> bytes:
    """Bytes ``start`` to ``stop`` of a file, in one request.

    Raises:
        StorageError: If the file cannot be read.
    """
    fs, path = _resolve(url)
    try:
        content: bytes = fs.cat_file(path, start=start, end=stop)
    except OSError as error:
        raise StorageError(f"{url}: cannot be read: {error}") from error
    return content


@_reached
def put_if_absent(url: str, data: bytes) -> bool:
    """Publish ``data`` under ``url`` unless something is there already, atomically.

    Local: temporary file in the same folder, fsync, hard link to the final name. Elsewhere: one create-only PUT. A PUT
    that was answered too late and tried again finds its own object: False does not say who put it.

    Returns:
        True if this call created the file, False if it existed.

    Raises:
        StorageError: If nothing could be put.
    """
    fs, path = _resolve(url)
    with _told(url, "put"):
        return conditional_put.put_if_absent(fs, path, data)


@_reached
def require_create_only(url: str, data: bytes) -> None:
    """Make sure that the storage of a file just put keeps put-if-absent's promise: putting it again must be refused.

    Raises:
        StorageError: If the second put went through; a build there could overwrite what another process committed.
    """
    fs, path = _resolve(url)
    if isinstance(fs, LocalFileSystem):
        return
    with _told(url, "put"):
        went_through = conditional_put.put_if_absent(fs, path, data)
    if went_through:
        raise StorageError(
            f"{url}: {type(fs).__name__} overwrites what exists, expected a storage with create-only puts"
        )


@_reached
def overwrite(url: str, data: bytes) -> None:
    """Publish ``data`` under ``url``, replacing what is there, atomically.

    Raises:
        StorageError: If nothing could be put.
    """
    fs, path = _resolve(url)
    with _told(url, "put"):
        conditional_put.overwrite(fs, path, data)


@_reached
def replace_if_unchanged(url: str, expected: bytes, data: bytes) -> bool:
    """Publish ``data`` under ``url`` if exactly ``expected`` stands there: of several who try, one succeeds.

    Local: compared and replaced under a lock on the file, by ``rename``. S3: a PUT on the condition (``If-Match``) that
    the object is still the one that was read; a PUT whose answer was lost is tried again and then finds its own object,
    so False does not say who put it. Elsewhere: read, compared and put. Beware, a writer in between is overwritten.

    Returns:
        True if this call replaced the file, False if something else, or nothing, stands there.

    Raises:
        StorageError: If nothing could be put.
    """
    fs, path = _resolve(url)
    with _told(url, "put"):
        return conditional_put.replace_if_unchanged(fs, path, expected, data)


@_reached
def remove_if_unchanged(url: str, expected: bytes) -> bool:
    """Remove a file if exactly ``expected`` stands there; its promise is that of ``replace_if_unchanged``.

    Raises:
        StorageError: If it could not be removed.
    """
    fs, path = _resolve(url)
    with _told(url, "removed"):
        return conditional_put.remove_if_unchanged(fs, path, expected)


@_reached
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
    except OSError as error:
        raise StorageError(f"{url}: cannot be removed: {error}") from error


def is_remote(url: str) -> bool:
    """Whether a URL names something that is not a path on this machine."""
    return "://" in url and not url.startswith(("file://", "local://"))


def relative_name(root: str, url: str) -> str:
    """Name of a file under ``root``, so that moving a folder renames nothing; its last segment if it is ``root``."""
    folder, path = _resolve(root)[1].rstrip("/"), _resolve(url)[1]
    return path.removeprefix(folder + "/") if path.startswith(folder + "/") else name_of(path)


def without_secrets(url: str) -> str:
    """The URL as it may be written down: without user, password and query."""
    scheme, found, rest = url.partition("://")
    if not found or scheme.lower() == "github":
        return url
    host, slash, path = rest.split("?")[0].partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


@contextmanager
def _told(url: str, done: str) -> Iterator[None]:
    """What the storage says against a put, with the URL."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"{url}: cannot be {done}: {error}") from error


def _resolve(url: str) -> tuple[Any, str]:
    if _PASSWORD.match(url):
        raise StorageError(f"{without_secrets(url)}: found a password in the URL, expected it in the environment")
    options = _s3_options() if _is_s3(url) else {}
    try:
        fs, path = fsspec.core.url_to_fs(url, **options)
    except (ValueError, ImportError) as error:
        raise StorageError(f"{without_secrets(url)}: {error}") from error
    return fs, path


def _is_s3(url: str) -> bool:
    return url.startswith(("s3://", "s3a://"))


def _s3_options() -> Mapping[str, Any]:
    """Retries of botocore; and of s3fs where a create-only PUT met another one (409, which AWS asks to try again)."""
    from s3fs.core import set_custom_error_handler

    set_custom_error_handler(lambda error: "ConditionalRequestConflict" in str(error))
    attempts = os.environ.get("AWS_MAX_ATTEMPTS", str(S3_ATTEMPTS))
    if not attempts.isdecimal():
        raise StorageError(f"AWS_MAX_ATTEMPTS: found {attempts!r}, expected a whole number")
    retries = {
        "max_attempts": int(attempts),
        "mode": os.environ.get("AWS_RETRY_MODE", "standard"),
    }
    return {"config_kwargs": {"retries": retries}}


def _url_of(fs: Any, name: str) -> str:
    return name if isinstance(fs, LocalFileSystem) else str(fs.unstrip_protocol(name))


def _file(info: dict[str, Any]) -> bool:
    """Whether a listing's entry is a file; a link to one is, any other link would be lost in silence."""
    if info.get("islink") and not Path(info["name"]).is_file():
        raise StorageError(f"{info['name']}: found a link that leads to no file, expected files or links to files")
    return bool(info["type"] == "file" or info.get("islink"))


def _tag(info: dict[str, Any]) -> str:
    return str(info.get("ETag") or info.get("mtime") or info.get("LastModified") or "")
