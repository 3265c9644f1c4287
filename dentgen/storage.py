"""Files on a disk or in an object store: list, read, put-if-absent.

The only code that knows local from S3. It refuses to know what the bytes mean. A name, once put, is never changed; only
``put_latest`` replaces, for the few "latest copy" files, and ``replace_if_same``, for what processes agree by.
Credentials come from the environment alone. What S3 answers in passing (500, 503, slow down, a reset) is tried again
with backoff by botocore and s3fs.
"""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import IO, Any, Concatenate, Final, ParamSpec, TypeVar

import fsspec
from fsspec.implementations.local import LocalFileSystem

from dentgen.errors import RefusedFileError, StorageError

#: Attempts at one request to S3; AWS_MAX_ATTEMPTS and AWS_RETRY_MODE of the environment win.
S3_ATTEMPTS: Final = 8
_PASSWORD: Final = re.compile(r"^[a-z0-9+.-]+://[^/@]*:[^/@]*@", re.IGNORECASE)


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
def read_if_there(url: str) -> bytes | None:
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
    try:
        if isinstance(fs, LocalFileSystem):
            return _link_if_absent(Path(path), data)
        fs.pipe_file(path, data, mode="create")
    except OSError as error:
        if _is_there(error):
            return False
        raise StorageError(f"{url}: cannot be put: {error}") from error
    return True


@_reached
def require_create_only(url: str, data: bytes) -> None:
    """Make sure that the storage of a file just put keeps put-if-absent's promise: putting it again must be refused.

    Raises:
        StorageError: If the second put went through; a build there could overwrite what another process committed.
    """
    fs, path = _resolve(url)
    if isinstance(fs, LocalFileSystem):
        return
    try:
        fs.pipe_file(path, data, mode="create")
    except OSError as error:
        if _is_there(error):
            return
        raise StorageError(f"{url}: cannot be put: {error}") from error
    raise StorageError(f"{url}: {type(fs).__name__} overwrites what exists, expected a storage with create-only puts")


@_reached
def put_latest(url: str, data: bytes) -> None:
    """Publish ``data`` under ``url``, replacing what is there, atomically.

    Raises:
        StorageError: If nothing could be put.
    """
    fs, path = _resolve(url)
    try:
        if isinstance(fs, LocalFileSystem):
            temporary = _write_temporary(Path(path), data)
            temporary.replace(path)
            _sync_folder(Path(path).parent)
        else:
            fs.pipe_file(path, data)
    except OSError as error:
        raise StorageError(f"{url}: cannot be put: {error}") from error


@_reached
def replace_if_same(url: str, expected: bytes, data: bytes) -> bool:
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
    try:
        if isinstance(fs, LocalFileSystem):
            return _rename_if_same(Path(path), expected, data)
        found = _tag_if_same(fs, path, expected)
        if found is not None:
            fs.pipe_file(path, data, **({"IfMatch": found} if _is_s3(url) else {}))
    except OSError as error:
        if _is_another(error):
            return False
        raise StorageError(f"{url}: cannot be put: {error}") from error
    return found is not None


@_reached
def remove_if_same(url: str, expected: bytes) -> bool:
    """Remove a file if exactly ``expected`` stands there; its promise is that of ``replace_if_same``.

    Raises:
        StorageError: If it could not be removed.
    """
    fs, path = _resolve(url)
    try:
        if isinstance(fs, LocalFileSystem):
            return _unlink_if_same(Path(path), expected)
        found = _tag_if_same(fs, path, expected)
        if found is not None and _is_s3(url):
            bucket, key, _ = fs.split_path(path)
            fs.call_s3("delete_object", Bucket=bucket, Key=key, IfMatch=found)
        elif found is not None:
            fs.rm_file(path)
    except OSError as error:
        if _is_another(error):
            return False
        raise StorageError(f"{url}: cannot be removed: {error}") from error
    return found is not None


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
    if not found:
        return url
    host, slash, path = rest.split("?")[0].partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def _resolve(url: str) -> tuple[Any, str]:
    if _PASSWORD.match(url):
        raise StorageError(f"{without_secrets(url)}: found a password in the URL, expected it in the environment")
    options = _s3_options() if _is_s3(url) else {}
    try:
        fs, path = fsspec.core.url_to_fs(url, **options)
    except (ValueError, ImportError) as error:
        raise StorageError(f"{without_secrets(url)}: {error}") from error
    return fs, path


def _is_there(error: OSError) -> bool:
    """Whether a create-only put found something; s3fs knows AWS's way of saying so, other stores just say 412."""
    answer = getattr(error.__cause__, "response", None) or {}
    return isinstance(error, FileExistsError) or answer.get("Error", {}).get("Code") in {"PreconditionFailed", "412"}


def _is_another(error: OSError) -> bool:
    """Whether what a conditional request asked for is gone or was replaced meanwhile."""
    return isinstance(error, FileNotFoundError) or _is_there(error)


def _is_s3(url: str) -> bool:
    return url.startswith(("s3://", "s3a://"))


def _tag_if_same(fs: Any, path: str, expected: bytes) -> str | None:
    """Tag of the object whose bytes are the expected ones, None if they are not.

    The tag is asked for first: bytes that came after it fail the condition, they are never mistaken for its own.
    """
    fs.invalidate_cache(path)
    tag = str(fs.info(path).get("ETag", ""))
    return tag if fs.cat_file(path) == expected else None


def _s3_options() -> Mapping[str, Any]:
    """Retries of botocore; and of s3fs where a create-only PUT met another one (409, which AWS asks to try again)."""
    from s3fs.core import set_custom_error_handler

    set_custom_error_handler(lambda error: "ConditionalRequestConflict" in str(error))
    retries = {
        "max_attempts": int(os.environ.get("AWS_MAX_ATTEMPTS", S3_ATTEMPTS)),
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


def _write_temporary(final: Path, data: bytes) -> Path:
    final.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{final.name}.", suffix=".tmp", dir=final.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
    except OSError:
        temporary.unlink()  # on a full disk it would be in the way of everything that comes later
        raise
    return temporary


def _link_if_absent(final: Path, data: bytes) -> bool:
    if final.exists():
        return False
    temporary = _write_temporary(final, data)
    try:
        os.link(temporary, final)
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    _sync_folder(final.parent)
    return True


@contextmanager
def _locked(final: Path) -> Iterator[bytes | None]:
    """Content of a file under its lock, None if there is none; a lock waited for may be on what was replaced since."""
    while True:
        try:
            file = final.open("r+b")
        except FileNotFoundError:
            yield None
            return
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if _is_still(final, file.fileno()):
                yield file.read()
                return


def _is_still(final: Path, handle: int) -> bool:
    """Whether an open file is the one that its name leads to."""
    try:
        there = final.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(handle))


def _rename_if_same(final: Path, expected: bytes, data: bytes) -> bool:
    with _locked(final) as found:
        if found != expected:
            return False
        _write_temporary(final, data).replace(final)
    _sync_folder(final.parent)
    return True


def _unlink_if_same(final: Path, expected: bytes) -> bool:
    with _locked(final) as found:
        if found == expected:
            final.unlink()
    return found == expected


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
