"""Digests of files: right after every change, and large files are not read twice."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dentgen.models import file_digest
from dentgen.models.file_digest import LARGE, file_sha256


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A large file without content on the disk, and an empty cache."""
    monkeypatch.setenv("DENTGEN_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "weights.safetensors"
    with file.open("wb") as opened:
        opened.truncate(LARGE)
    return file


def settle(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let time pass, for files are not trusted at once."""
    monkeypatch.setattr(file_digest, "_SETTLED_NS", -(10**9))
    assert file.exists()


def entries(tmp_path: Path) -> dict[str, list[object]]:
    return dict(json.loads((tmp_path / "cache" / "digests.json").read_text()))


def hashed(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_young_files_are_not_remembered(large: Path, tmp_path: Path) -> None:
    assert file_sha256(large) == hashed(large)
    assert not (tmp_path / "cache" / "digests.json").exists()


def test_another_process_reads_no_large_file_again(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(large, monkeypatch)
    file_sha256(large)
    (name,) = entries(tmp_path)
    assert name == str(large.resolve())
    known = entries(tmp_path)
    known[name][1] = "a" * 64
    (tmp_path / "cache" / "digests.json").write_text(json.dumps(known))
    code = "import sys; from pathlib import Path; from dentgen.models import file_digest as module\n"
    code += "module._SETTLED_NS = -1; print(module.file_sha256(Path(sys.argv[1])))"
    found = subprocess.run([sys.executable, "-c", code, str(large)], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "a" * 64, "what another process wrote is taken"


def test_every_change_is_noticed(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(large, monkeypatch)
    before, state = file_sha256(large), large.stat()
    with large.open("r+b") as opened:
        opened.write(b"x")
    os.utime(large, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert file_sha256(large) == hashed(large) != before, "also under the old size and time of modification"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"a": 3}', '{"a": [[1], 2, 3]}', '"x"', "9" * 5000])
def test_a_damaged_cache_is_ignored(large: Path, tmp_path: Path, content: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(large, monkeypatch)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "digests.json").write_text(content)
    assert file_sha256(large) == hashed(large)
    assert list(entries(tmp_path)) == [str(large.resolve())]


def test_a_cache_that_cannot_be_written_is_no_error(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(large, monkeypatch)
    (tmp_path / "cache").write_text("a file")
    assert file_sha256(large) == hashed(large)


def test_small_files_are_hashed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DENTGEN_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "config.json"
    for content in (b"{}", b"[]"):
        file.write_bytes(content)
        os.utime(file, (time.time() - 9, time.time() - 9))
        assert file_sha256(file) == hashlib.sha256(content).hexdigest()
    assert not (tmp_path / "cache").exists()
