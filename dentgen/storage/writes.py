"""Writing and removing files on a disk or in an object store, on conditions.

Files are created once; only ``overwrite``, for the few
files that hold the latest state, and ``replace_if_unchanged``, for locks, replace them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from dentgen.errors import StorageError
from dentgen.storage import conditional_put
from dentgen.storage.places import is_web, locate, without_secrets
from dentgen.storage.store_errors import maps_errors


@maps_errors("written")
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


@maps_errors("written")
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


@maps_errors("read")
def tag_of(url: str) -> str:
    """What tells the file at ``url`` from one that replaces it, by one look at its name; "" if the storage has no such.

    Raises:
        StorageError: If there is no file, or the storage cannot be reached.
    """
    fs, path = locate(url)
    return conditional_put.tag_of(fs, path)


@maps_errors("written")
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


@maps_errors("written")
def require_writable(url: str) -> None:
    """Check that conditional writes into a folder are possible, before anything stands there; it need not exist yet.

    Tried on local disks, where links and locks may be missing. Of other stores only those are refused that nobody can
    write to; ``require_create_only`` asks the rest.

    Raises:
        StorageError: If they are not.
    """
    fs, path = _locate_to_write(url)
    conditional_put.require_fit_folder(fs, path)


@maps_errors("written")
def overwrite(url: str, data: bytes) -> None:
    """Publish ``data`` under ``url``, replacing what is there, atomically.

    Raises:
        StorageError: If nothing could be written.
    """
    fs, path = _locate_to_write(url)
    conditional_put.overwrite(fs, path, data)


@maps_errors("written")
def overwrite_from(url: str, file: Path) -> None:
    """Publish a local file's content under ``url``, replacing what is there, atomically and without reading it whole.

    Raises:
        StorageError: If nothing could be written.
    """
    fs, path = _locate_to_write(url)
    conditional_put.overwrite_from(fs, path, file)


@maps_errors("written")
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


@maps_errors("removed")
def remove_if_unchanged(url: str, expected: bytes) -> bool:
    """Remove a file if its content is exactly ``expected``, with the guarantees of ``replace_if_unchanged``.

    Raises:
        StorageError: If it could not be removed.
    """
    fs, path = _locate_to_write(url)
    return conditional_put.remove_if_unchanged(fs, path, expected)


@maps_errors("removed")
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


@maps_errors("removed")
def remove_if_empty(url: str) -> None:
    """Remove a local folder if it is there and empty; object stores have no folders.

    Raises:
        StorageError: If it cannot be removed.
    """
    fs, path = locate(url)
    if isinstance(fs, LocalFileSystem) and Path(path).is_dir() and not any(os.scandir(path)):
        Path(path).rmdir()


def _locate_to_write(url: str) -> tuple[Any, str]:
    if is_web(url):
        raise StorageError(file=without_secrets(url), found="a web server", expected="storage that can be written")
    return locate(url)
