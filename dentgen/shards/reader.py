"""Read finished shards back: samples as members by extension, through the index. Refuses to know what members mean."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator

from dentgen import storage
from dentgen.shards.index import read_index
from dentgen.shards.ledger import SHARDS

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


def read_samples(out: str) -> Iterator[tuple[str, Members]]:
    """Samples of a sealed build, shard by shard.

    Raises:
        StorageError: If the build is not sealed or a shard is gone.
    """
    for shard in read_index(out).shards:
        yield from tar_samples(storage.read_bytes(storage.join(out, SHARDS, shard.name)))
