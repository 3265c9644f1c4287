"""Digests of stored files."""

from __future__ import annotations

import hashlib

from dentgen.storage.files import open_read


def sha256_of(url: str) -> str:
    """sha256 of a file's content, read piece by piece.

    Raises:
        RefusedFileError: If access to this file is denied.
        StorageError: If it cannot be opened.
    """
    with open_read(url) as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()  # type: ignore[arg-type]  # files of fsspec have readinto
