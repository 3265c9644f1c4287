"""Reading finished shards back through the index: verified bytes, and samples as members by extension."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator

from dentgen import storage
from dentgen.documents.index import DatasetIndex, ShardEntry
from dentgen.errors import BuildError
from dentgen.shards import layout
from dentgen.shards.index_reader import read_index

Members = dict[str, bytes]


def tar_samples(data: bytes) -> Iterator[tuple[str, Members]]:
    """Samples of one archive, in order: key and members by extension."""
    key, members = "", Members()
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for info in archive:
            found, _, extension = info.name.partition(".")
            content = archive.extractfile(info)
            if found != key and members:
                yield key, members
                members = Members()
            key = found
            members[extension] = content.read() if content else b""
    if members:
        yield key, members


def read_shard(out: str, shard: ShardEntry) -> bytes:
    """A shard's bytes, checked against the index.

    Raises:
        StorageError: If it cannot be read.
        BuildError: If it is damaged or was replaced.
    """
    url = storage.join(out, layout.SHARDS, shard.name)
    data = storage.read_range(url, 0, max(shard.bytes, 0) + 1)  # what replaced it may be far larger
    found = hashlib.sha256(data).hexdigest()
    if found != shard.sha256:
        raise BuildError(
            "the shard is damaged or was replaced",
            file=storage.without_secrets(url),
            found=f"over {shard.bytes} bytes" if len(data) > shard.bytes else f"{len(data)} bytes with sha256 {found}",
            expected=f"{shard.bytes} bytes with {shard.sha256}",
            advice=f"'dentgen repair {storage.without_secrets(out)}' generates it again",
        )
    return data


def read_samples(out: str, index: DatasetIndex | None = None) -> Iterator[tuple[str, Members]]:
    """Samples of a sealed build, shard by shard.

    Args:
        out: The build.
        index: Index of the version to read; None: the latest.

    Raises:
        StorageError: If the build is not sealed or a shard cannot be read.
        BuildError: If a shard is damaged.
    """
    for shard in (read_index(out) if index is None else index).shards:
        yield from tar_samples(read_shard(out, shard))
