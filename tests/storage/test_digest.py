"""Digests of stored files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from dentgen import storage
from dentgen.errors import StorageError


@pytest.mark.parametrize("root", ["local", "memory"])
def test_the_digest_is_that_of_the_content(root: str, tmp_path: Path) -> None:
    url = str(tmp_path / "a") if root == "local" else f"memory://digests/{tmp_path.name}"
    content = bytes(range(256)) * 5000
    storage.put_if_absent(url, content) if root == "local" else storage.overwrite(url, content)
    assert storage.sha256_of(url) == hashlib.sha256(content).hexdigest()


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught:
        storage.sha256_of(str(tmp_path / "a"))
    assert caught.value.file.endswith("a")
