"""What identifies the content of a condition shard, so that a source may be copied but not changed under a build."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import Final, Protocol

from dentgen import storage
from dentgen.conditions.readers.raw import ConditionShard

_TAG: Final = "tag:"
#: How the sha256 of a shard's bytes begins, as its identity.
SHA256: Final = "sha256:"
_MD5: Final = re.compile(r'"?([0-9a-f]{32})"?')
_CHUNK_BYTES: Final = 2**22


def shard_content(shard: ConditionShard) -> str:
    """Identity of a shard's content: an object store's etag, otherwise the sha256 of its bytes.

    A file's time is no identity: copies, checkouts and unpacked archives have new times.

    Raises:
        StorageError: If the shard cannot be read.
    """
    if storage.is_remote(shard.url) and shard.tag:
        return _TAG + shard.tag
    return SHA256 + _digest(shard, "sha256")


def has_content(shard: ConditionShard, content: str) -> bool:
    """Whether a shard, perhaps a copy elsewhere, has the content that ``shard_content`` once named.

    An etag can be compared with a copy only if it is the MD5 of the bytes, as S3 gives files written in one part.

    Raises:
        StorageError: If the shard cannot be read.
    """
    if not content:
        return True
    if content.startswith(SHA256):
        return content == SHA256 + _digest(shard, "sha256")
    tag = content.removeprefix(_TAG)
    if storage.is_remote(shard.url) and shard.tag == tag:
        return True
    md5 = _MD5.fullmatch(tag)
    return md5 is not None and shard.kind != "folder" and md5[1] == _digest(shard, "md5")


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...


@lru_cache(maxsize=4096)
def _digest(shard: ConditionShard, algorithm: str) -> str:
    """Hex digest of a file, or of the names and contents of a folder's files; cached by name, size and tag."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    if shard.kind != "folder":
        _update(digest, shard.url)
        return digest.hexdigest()
    for file in sorted(shard.files, key=lambda file: file.url):
        name = storage.relative_name(shard.url, file.url).encode("utf-8", "surrogateescape")
        digest.update(b"%d %s %d\n" % (len(name), name, file.size))
        _update(digest, file.url)
    return digest.hexdigest()


def _update(digest: _Hash, url: str) -> None:
    with storage.open_read(url) as handle:
        while chunk := handle.read(_CHUNK_BYTES):
            digest.update(chunk)
