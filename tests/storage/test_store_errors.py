"""Errors of stores: the file is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dentgen import storage
from dentgen.errors import StorageError
from tests.s3_faults import FaultProxy


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["500", "reset"])
def test_unreachable_storage_is_named(
    fault: str, flaky_s3: FaultProxy, s3_root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    url = storage.join(s3_root, "down")
    flaky_s3.plan = [fault] * 1000
    operations: tuple[Callable[[], object], ...] = (
        lambda: storage.put_if_absent(url, b"x"),
        lambda: storage.overwrite(url, b"x"),
        lambda: storage.read_bytes(url),
        lambda: storage.read_if_exists(url),
        lambda: storage.exists(url),
        lambda: storage.list_names(url),
        lambda: storage.list_files(url),
    )
    for operation in operations if fault == "500" else operations[4:6]:  # s3fs waits long between resets
        with pytest.raises(StorageError) as caught:
            operation()
        assert caught.value.file == url
    flaky_s3.plan = []


def test_missing_files_are_named(tmp_path: Path) -> None:
    for operation in (storage.read_bytes, storage.list_files):
        with pytest.raises(StorageError) as caught:
            operation(str(tmp_path / "not-there"))
        assert caught.value.file == str(tmp_path / "not-there")


def test_file_in_place_of_a_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "shards").write_bytes(b"")
    with pytest.raises(StorageError) as caught:
        storage.put_if_absent(str(tmp_path / "shards" / "x"), b"data")
    assert caught.value.file.endswith("shards/x")
