"""What conditional writes need of a local file system: create-only names, locks and syncing, where it has them."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import logging
import os
import shutil
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final

from dentgen.errors import StorageError

_LOG = logging.getLogger(__name__)

#: How file systems say that they have no such operation: exFAT, FUSE, SMB, NFS without a lock daemon.
_UNSUPPORTED: Final = frozenset(
    {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EMLINK, errno.ENOLCK}
)
_UNSYNCED: Final = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP})
#: Of a file's name, so that the temporary name fits into the 255 bytes that file systems allow.
_NAME_BYTES: Final = 180
_AT_FDCWD: Final = -100
_RENAME_NOREPLACE: Final = 1


def write_temporary(final: Path, data: bytes | IO[bytes]) -> Path:
    """Write and sync a hidden file beside ``final``, with the permissions that the process gives to new files."""
    final.parent.mkdir(parents=True, exist_ok=True)
    name = final.name.encode("utf-8", "surrogateescape")[:_NAME_BYTES].decode("utf-8", "ignore")
    temporary = final.with_name(f".{name}.{uuid.uuid4().hex[:12]}.tmp")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)  # less the umask
    try:
        with os.fdopen(handle, "wb") as file:
            if isinstance(data, bytes):
                file.write(data)
            else:
                shutil.copyfileobj(data, file)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        temporary.unlink()  # on a full disk it would block every later write
        raise
    return temporary


def give_name(temporary: Path, final: Path) -> bool:
    """Give a temporary file its final name unless that exists, atomically; the temporary name is gone afterwards.

    By a hard link, or by a rename that replaces nothing where the file system has no links.

    Returns:
        Whether the name is new.

    Raises:
        StorageError: If the file system can do neither.
    """
    try:
        os.link(temporary, final)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        return _rename_without_replacing(temporary, final)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()
    return True


def _rename_without_replacing(temporary: Path, final: Path) -> bool:
    try:
        rename: Callable[..., int] = ctypes.CDLL(None, use_errno=True).renameat2
        failed = rename(_AT_FDCWD, os.fsencode(temporary), _AT_FDCWD, os.fsencode(final), _RENAME_NOREPLACE)
        code = ctypes.get_errno() if failed else 0
    except AttributeError:  # neither Linux nor glibc 2.28
        code = errno.ENOSYS
    if code == errno.EEXIST:
        return False
    if code in _UNSUPPORTED:
        raise _unfit(final.parent, "neither hard links nor renames that replace nothing")
    if code:
        raise OSError(code, os.strerror(code), str(final))
    return True


def lock(file: IO[Any], place: Path, *, wait: bool = True) -> None:
    """Take the lock of an open file, which is released when it is closed, and by the end of the process.

    Args:
        file: The file.
        place: Its path.
        wait: Whether to wait for another holder.

    Raises:
        BlockingIOError: If another one holds it and we do not wait.
        StorageError: If the file system has no locks.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        raise _unfit(place.parent, "no file locks") from error


def sync_folder(folder: Path) -> None:
    """Sync the names in a folder, where the file system can."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _UNSYNCED:
            raise
        _warn_of_unsynced_names(folder)
    finally:
        os.close(handle)


def require_fit(folder: Path) -> None:
    """Check by trying that a folder, which need not exist, takes create-only names and locks; leaves nothing behind.

    Raises:
        StorageError: If it does not.
        OSError: If nothing can be written there.
    """
    missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    trial = folder / f".dentgen-{uuid.uuid4().hex[:12]}"
    try:
        give_name(write_temporary(trial, b""), trial)
        with trial.open("r+b") as file:
            lock(file, trial)
    except (OSError, StorageError):
        _remove(trial, missing)
        raise
    _remove(trial, missing)


def _remove(trial: Path, folders: list[Path]) -> None:
    with suppress(OSError):
        trial.unlink()
    for folder in folders:
        with suppress(OSError):  # somebody else may use it by now
            folder.rmdir()


def _unfit(folder: Path, found: str) -> StorageError:
    return StorageError(
        file=str(folder), found=f"a file system with {found}", expected="one on which concurrent writers are safe",
        advice="choose a folder on another disk, or an object store",
    )  # fmt: skip


_unsynced: set[int] = set()


def _warn_of_unsynced_names(folder: Path) -> None:
    """Warn once per file system."""
    device = folder.stat().st_dev
    if device not in _unsynced:
        _unsynced.add(device)
        _LOG.warning("%s: this file system cannot sync folders; a power cut may undo the newest files", folder)
