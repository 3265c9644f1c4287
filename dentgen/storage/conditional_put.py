"""Conditional writes (create-only, compare-and-swap, overwrite) on local disks and S3.

Writes are atomic: a process that dies in the middle leaves the whole file or nothing. Every OSError is passed on except
the one that says that the condition did not hold.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from fsspec.implementations.local import LocalFileSystem

from dentgen.storage.local_files import give_name, lock, require_fit, sync_folder, write_temporary

#: Size of the parts in which s3fs uploads objects of at least twice that; another size costs reading them back.
_PART_BYTES: Final = 50 * 2**20


def put_if_absent(fs: Any, path: str, data: bytes) -> bool:
    """Create a file unless it exists: by a new name on a disk, elsewhere by one create-only PUT.

    Returns:
        True if this call created the file, False if it existed.
    """
    return put_tagged(fs, path, data) is not None


def put_tagged(fs: Any, path: str, data: bytes) -> str | None:
    """As ``put_if_absent``.

    Returns:
        What ``tag_of`` says as long as the file is the one that this call created, "" if the storage does not tell;
        None if a file existed.
    """
    if isinstance(fs, LocalFileSystem):
        return _link_if_absent(Path(path), data)
    try:
        answer = fs.pipe_file(path, data, mode="create")
    except OSError as error:
        if _already_exists(error):
            return None
        raise
    if not _is_s3(fs):
        return ""
    return str(answer["ETag"]) if isinstance(answer, dict) and "ETag" in answer else _multipart_tag(data)


def tag_of(fs: Any, path: str) -> str:
    """Which file has a name now: on a disk its inode, size and time of writing, in S3 its ETag, elsewhere ""."""
    if isinstance(fs, LocalFileSystem):
        with Path(path).open("rb") as file:  # opening makes a network file system ask its server
            return _tag(os.fstat(file.fileno()))
    if not _is_s3(fs):
        return ""
    fs.invalidate_cache(path)
    return str(fs.info(path).get("ETag", ""))


def require_fit_folder(fs: Any, path: str) -> None:
    """Check before the first write that a local folder takes conditional writes; others are asked by that write."""
    if isinstance(fs, LocalFileSystem):
        require_fit(Path(path))


def overwrite(fs: Any, path: str, data: bytes) -> None:
    """Write, replacing whatever is there."""
    if isinstance(fs, LocalFileSystem):
        write_temporary(Path(path), data).replace(path)
        sync_folder(Path(path).parent)
    else:
        fs.pipe_file(path, data)


def overwrite_from(fs: Any, path: str, file: Path) -> None:
    """Write a local file's content, replacing whatever is there, without reading it into memory."""
    if isinstance(fs, LocalFileSystem):
        with file.open("rb") as source:
            write_temporary(Path(path), source).replace(path)
        sync_folder(Path(path).parent)
    else:
        fs.put_file(str(file), path)


def replace_if_unchanged(fs: Any, path: str, expected: bytes, data: bytes) -> bool:
    """Replace a file with exactly the expected content: under a lock on a disk, in S3 by a PUT with ``If-Match``.

    Returns:
        True if this call replaced the file, False if it is missing or has other content.
    """
    try:
        if isinstance(fs, LocalFileSystem):
            return _rename_if_same(Path(path), expected, data)
        found = _tag_if_same(fs, path, expected)
        if found is not None:
            fs.pipe_file(path, data, **({"IfMatch": found} if _is_s3(fs) else {}))
    except OSError as error:
        if _condition_failed(error):
            return False
        raise
    return found is not None


def remove_if_unchanged(fs: Any, path: str, expected: bytes) -> bool:
    """Remove a file with exactly the expected content, as ``replace_if_unchanged`` replaces it."""
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
        if _condition_failed(error):
            return False
        raise
    return found is not None


def _tag(found: os.stat_result) -> str:
    return f"{found.st_dev}-{found.st_ino}-{found.st_size}-{found.st_mtime_ns}"


def _multipart_tag(data: bytes) -> str:
    """ETag of an object that s3fs uploaded in parts, unless it is encrypted with a key of the customer's."""
    parts = [data[start : start + _PART_BYTES] for start in range(0, len(data), _PART_BYTES)]
    digests = b"".join(hashlib.md5(part, usedforsecurity=False).digest() for part in parts)
    return f'"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(parts)}"'


def _is_s3(fs: Any) -> bool:
    return "s3" in ((fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol)


def _already_exists(error: OSError) -> bool:
    """Whether a create-only PUT found an object; s3fs translates AWS's answer, other stores just say 412."""
    answer = getattr(error.__cause__, "response", None) or {}
    return isinstance(error, FileExistsError) or answer.get("Error", {}).get("Code") in {"PreconditionFailed", "412"}


def _condition_failed(error: OSError) -> bool:
    """Whether the object of a conditional request was removed or replaced meanwhile."""
    return isinstance(error, FileNotFoundError) or _already_exists(error)


def _tag_if_same(fs: Any, path: str, expected: bytes) -> str | None:
    """ETag of an object with the expected content, None if it has other content.

    The ETag is read before the content, so that a write in between fails the condition later.
    """
    fs.invalidate_cache(path)
    tag = str(fs.info(path).get("ETag", ""))
    return tag if fs.cat_file(path) == expected else None


def _link_if_absent(final: Path, data: bytes) -> str | None:
    if final.exists():
        return None
    temporary = write_temporary(final, data)
    tag = _tag(temporary.stat())
    if not give_name(temporary, final):
        return None
    sync_folder(final.parent)
    return tag


@contextmanager
def _locked(final: Path) -> Iterator[bytes | None]:
    """Content of a file under its lock, None if there is none; retries if the file was replaced while waiting."""
    while True:
        try:
            file = final.open("r+b")
        except FileNotFoundError:
            yield None
            return
        with file:
            lock(file, final)
            if _is_still(final, file.fileno()):
                yield file.read()
                return


def _is_still(final: Path, handle: int) -> bool:
    """Whether an open file is still the one of its name."""
    try:
        there = final.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(handle))


def _rename_if_same(final: Path, expected: bytes, data: bytes) -> bool:
    temporary = write_temporary(final, data)  # before the lock, which others wait for
    try:
        with _locked(final) as found:
            if found != expected:
                return False
            temporary.replace(final)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(final.parent)
    return True


def _unlink_if_same(final: Path, expected: bytes) -> bool:
    with _locked(final) as found:
        if found == expected:
            final.unlink()
    return found == expected
