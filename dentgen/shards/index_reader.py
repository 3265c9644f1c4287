"""Reading the index of a build: its latest, that of a version, and what is known of a version's."""

from __future__ import annotations

import hashlib
from contextlib import suppress

from dentgen import storage
from dentgen.documents.index import DatasetIndex
from dentgen.errors import BuildError, SpecError, StorageError, faults_of
from dentgen.shards import layout
from dentgen.shards.seals import version_numbers


def read_index(out: str, name: str = layout.INDEX) -> DatasetIndex:
    """The latest index of a build, or the one under another name.

    Raises:
        StorageError: If the build has not been sealed, or the file is no index.
    """
    url = storage.join(out, name)
    try:
        return DatasetIndex.model_validate_json(storage.read_bytes(url))
    except ValueError as error:
        raise StorageError(f"not an index: {faults_of(error)}", file=storage.without_secrets(url)) from error


def read_version(out: str, version: int) -> DatasetIndex:
    """The index of a version of a build.

    Raises:
        SpecError: If there is no such version.
        StorageError: As ``read_index``.
    """
    name = layout.versioned(version, layout.INDEX)
    if not storage.exists(storage.join(out, name)):
        known = sorted(version_numbers(out))
        raise SpecError(file=storage.without_secrets(out), key="version", found=version, expected=f"one of {known}")
    return read_index(out, name)


def finished_index(out: str) -> DatasetIndex:
    """The latest index of a build.

    Raises:
        BuildError: If the build has not been sealed.
        StorageError: If the file is no index.
    """
    if not storage.exists(storage.join(out, layout.INDEX)):
        raise BuildError(
            file=storage.without_secrets(out), found=f"no {layout.INDEX}", expected="a finished build",
            advice="'dentgen generate' finishes an interrupted one",
        )  # fmt: skip
    return read_index(out)


def sealed_indexes(out: str, version: int | None = None) -> list[DatasetIndex]:
    """The latest index and the version's copy, as far as they can be read and are of this version.

    Args:
        out: The build.
        version: The version; None: the newest one.
    """
    wanted = next(iter(version_numbers(out)), 0) if version is None else version
    found: list[DatasetIndex] = []
    for name in (layout.INDEX, layout.versioned(wanted, layout.INDEX)):
        with suppress(StorageError):
            found.append(read_index(out, name))
    return [index for index in found if index.version == wanted]


def index_sha256(out: str, name: str = layout.INDEX) -> str:
    """sha256 of the bytes of an index.

    Raises:
        StorageError: If it cannot be read.
    """
    return hashlib.sha256(storage.read_bytes(storage.join(out, name))).hexdigest()
