"""Conditional writes on a local disk: atomic, locked, without leftovers."""

from __future__ import annotations

import fcntl
import threading
from pathlib import Path

from fsspec.implementations.local import LocalFileSystem

from dentgen.storage import conditional_put

FS = LocalFileSystem()


def test_create_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a"
    assert conditional_put.put_if_absent(FS, str(path), b"first")
    assert not conditional_put.put_if_absent(FS, str(path), b"second")
    assert path.read_bytes() == b"first"
    assert [file.name for file in path.parent.iterdir()] == ["a"]


def test_overwrite_replaces_the_file_and_never_writes_into_it(tmp_path: Path) -> None:
    """A reader that has the old file open keeps reading it whole."""
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with path.open("rb") as reader:
        conditional_put.overwrite(FS, str(path), b"newer")
        assert reader.read() == b"old"
    (tmp_path / "source").write_bytes(b"from a file")
    conditional_put.overwrite_from(FS, str(path), tmp_path / "source")
    assert path.read_bytes() == b"from a file"


def test_compare_and_swap_needs_the_expected_content(tmp_path: Path) -> None:
    path = tmp_path / "a"
    assert not conditional_put.replace_if_unchanged(FS, str(path), b"", b"x"), "a missing file is not empty"
    path.write_bytes(b"one")
    assert not conditional_put.replace_if_unchanged(FS, str(path), b"two", b"three")
    assert conditional_put.replace_if_unchanged(FS, str(path), b"one", b"two")
    assert not conditional_put.remove_if_unchanged(FS, str(path), b"one")
    assert conditional_put.remove_if_unchanged(FS, str(path), b"two")
    assert list(tmp_path.iterdir()) == []


def test_a_swap_waits_for_the_lock_and_sees_what_its_holder_wrote(tmp_path: Path) -> None:
    path, swapped = tmp_path / "a", []
    path.write_bytes(b"one")
    with path.open("r+b") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        swap = threading.Thread(
            target=lambda: swapped.append(conditional_put.replace_if_unchanged(FS, str(path), b"one", b"two"))
        )
        swap.start()
        swap.join(timeout=0.2)
        assert swap.is_alive(), "the lock is held"
        (tmp_path / "b").write_bytes(b"holder's")
        (tmp_path / "b").replace(path)
    swap.join()
    assert swapped == [False]
    assert path.read_bytes() == b"holder's"
