"""How bytes come to stand under a name, and only under the condition asked for, on a disk and in an object store.

Whoever dies in the middle leaves the whole of them or nothing. Refuses to know URLs, and hands on every OSError but the
one that says that the condition did not hold.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fsspec.implementations.local import LocalFileSystem


def put_if_absent(fs: Any, path: str, data: bytes) -> bool:
    """Put unless something is there already. On a disk by a hard link, elsewhere by one create-only PUT.

    Returns:
        True if this call created the file, False if it existed.
    """
    if isinstance(fs, LocalFileSystem):
        return _link_if_absent(Path(path), data)
    try:
        fs.pipe_file(path, data, mode="create")
    except OSError as error:
        if _is_there(error):
            return False
        raise
    return True


def overwrite(fs: Any, path: str, data: bytes) -> None:
    """Put in place of whatever is there."""
    if isinstance(fs, LocalFileSystem):
        _write_temporary(Path(path), data).replace(path)
        _sync_folder(Path(path).parent)
    else:
        fs.pipe_file(path, data)


def replace_if_unchanged(fs: Any, path: str, expected: bytes, data: bytes) -> bool:
    """Put in place of exactly the expected bytes. On a disk under a lock, in S3 by a PUT with ``If-Match``.

    Returns:
        True if this call replaced the file, False if something else, or nothing, stands there.
    """
    try:
        if isinstance(fs, LocalFileSystem):
            return _rename_if_same(Path(path), expected, data)
        found = _tag_if_same(fs, path, expected)
        if found is not None:
            fs.pipe_file(path, data, **({"IfMatch": found} if _is_s3(fs) else {}))
    except OSError as error:
        if _is_another(error):
            return False
        raise
    return found is not None


def remove_if_unchanged(fs: Any, path: str, expected: bytes) -> bool:
    """Remove exactly the expected bytes, in the ways of ``replace_if_unchanged``."""
    try:
        if isinstance(fs, LocalFileSystem):
            return _unlink_if_same(Path(path), expected)
        found = _tag_if_same(fs, path, expected)
        if found is not None and _is_s3(fs):
            bucket, key, _ = fs.split_path(path)
            fs.call_s3("delete_object", Bucket=bucket, Key=key, IfMatch=found)
        elif found is not None:
            fs.rm_file(path)
    except OSError as error:
        if _is_another(error):
            return False
        raise
    return found is not None


def _is_s3(fs: Any) -> bool:
    return "s3" in ((fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol)


def _is_there(error: OSError) -> bool:
    """Whether a create-only put found something; s3fs knows AWS's way of saying so, other stores just say 412."""
    answer = getattr(error.__cause__, "response", None) or {}
    return isinstance(error, FileExistsError) or answer.get("Error", {}).get("Code") in {"PreconditionFailed", "412"}


def _is_another(error: OSError) -> bool:
    """Whether what a conditional request asked for is gone or was replaced meanwhile."""
    return isinstance(error, FileNotFoundError) or _is_there(error)


def _tag_if_same(fs: Any, path: str, expected: bytes) -> str | None:
    """Tag of the object whose bytes are the expected ones, None if they are not.

    The tag is asked for first: bytes that came after it fail the condition, they are never mistaken for its own.
    """
    fs.invalidate_cache(path)
    tag = str(fs.info(path).get("ETag", ""))
    return tag if fs.cat_file(path) == expected else None


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
    temporary = _write_temporary(final, data)  # before the lock: a disk may take its time, and others wait for it
    try:
        with _locked(final) as found:
            if found != expected:
                return False
            temporary.replace(final)
    finally:
        temporary.unlink(missing_ok=True)
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
