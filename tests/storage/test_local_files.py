"""Local file systems that lack links, locks or syncing: gone around safely, or refused with nothing left behind."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from dentgen.errors import StorageError
from dentgen.storage import local_files
from dentgen.storage.conditional_put import put_if_absent
from dentgen.storage.places import locate


def failing(code: int) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


def put(path: Path, data: bytes) -> bool:
    return put_if_absent(*locate(str(path)), data)


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_new_files_and_folders_have_the_permissions_that_the_process_gives(
    umask: int, mode: int, tmp_path: Path
) -> None:
    before = os.umask(umask)
    try:
        assert put(tmp_path / "new" / "x", b"data")
        local_files.write_temporary(tmp_path / "y", b"data").replace(tmp_path / "y")
    finally:
        os.umask(before)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("new/x", "y")] == [mode, mode]
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o777 & ~umask


@pytest.mark.parametrize("name", ["x" * 255, "\u00e9" * 127, "\U0001f9b7" * 63], ids=["ascii", "latin", "emoji"])
def test_names_may_be_as_long_as_file_systems_allow(name: str, tmp_path: Path) -> None:
    assert put(tmp_path / name, b"data")
    assert not put(tmp_path / name, b"other")
    assert [file.name for file in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK])
def test_without_hard_links_a_rename_creates_and_never_replaces(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", failing(code))
    won: list[int] = []
    barrier = threading.Barrier(6)

    def race(number: int) -> None:
        temporary = local_files.write_temporary(tmp_path / "x", bytes([number]))
        barrier.wait()
        if local_files.give_name(temporary, tmp_path / "x"):
            won.append(number)

    threads = [threading.Thread(target=race, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [(tmp_path / "x").read_bytes()] == [bytes([number]) for number in won]
    assert [file.name for file in tmp_path.iterdir()] == ["x"], "no temporary file is left"
    local_files.require_fit(tmp_path)


@pytest.mark.parametrize("missing", ["links", "locks"])
def test_unfit_file_systems_are_refused_and_nothing_is_left(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if missing == "links":
        monkeypatch.setattr(os, "link", failing(errno.EPERM))
        monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: object())
    else:
        monkeypatch.setattr(fcntl, "flock", failing(errno.ENOLCK))
    with pytest.raises(StorageError) as caught:
        local_files.require_fit(tmp_path / "a" / "out")
    assert caught.value.file == str(tmp_path / "a" / "out")
    assert missing.removesuffix("s") in caught.value.found
    assert list(tmp_path.iterdir()) == []


def test_a_fit_folder_is_left_as_it_was(tmp_path: Path) -> None:
    local_files.require_fit(tmp_path / "a" / "out")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "x").write_bytes(b"")
    local_files.require_fit(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["x"]


def test_other_errors_of_links_and_locks_are_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", failing(errno.ENOSPC))
    with pytest.raises(OSError, match="space") as caught:
        put(tmp_path / "x", b"data")
    assert caught.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


def test_folders_that_cannot_be_synced_are_named_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sync = os.fsync

    def sync_files(handle: int) -> None:
        if Path(f"/proc/self/fd/{handle}").is_dir():
            raise OSError(errno.EINVAL, "Invalid argument")
        sync(handle)

    monkeypatch.setattr(os, "fsync", sync_files)
    monkeypatch.setattr(local_files, "_unsynced", set())
    with caplog.at_level(logging.WARNING):
        assert put(tmp_path / "x", b"data")
        assert put(tmp_path / "y", b"data")
    assert [record.args for record in caplog.records] == [(tmp_path,)]
    monkeypatch.setattr(os, "fsync", failing(errno.EIO))
    with pytest.raises(OSError, match="error"):
        local_files.sync_folder(tmp_path)
