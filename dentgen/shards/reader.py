"""Read finished shards back: samples as members by extension, through the index. Refuses to know what members mean."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator

from dentgen import storage
from dentgen.documents import ShardEntry
from dentgen.errors import BuildError
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


def read_shard(out: str, shard: ShardEntry) -> bytes:
    """A shard's bytes, held against the index.

    Raises:
        StorageError: If it is gone.
        BuildError: If it is damaged.
    """
    url = storage.join(out, SHARDS, shard.name)
    data = storage.read_bytes(url)
    found = hashlib.sha256(data).hexdigest()
    if found != shard.sha256:
        raise BuildError(
            f"{url}: found {len(data)} bytes with sha256 {found}, expected {shard.bytes} with {shard.sha256}; "
            f"'dentgen repair {storage.without_secrets(out)}' makes it again"
        )
    return data


def read_samples(out: str) -> Iterator[tuple[str, Members]]:
    """Samples of a sealed build, shard by shard.

    Raises:
        StorageError: If the build is not sealed or a shard is gone.
        BuildError: If a shard is damaged.
    """
    for shard in read_index(out).shards:
        yield from tar_samples(read_shard(out, shard))
