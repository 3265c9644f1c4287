"""Samples of a finished build as condition records: the shards of its index, each picture as its record's photo."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

from pydantic import ValidationError

from dentgen import storage
from dentgen.conditions.metadata import split_and_attributes
from dentgen.conditions.readers.raw import ConditionShard, RawRecord, RecordRange, ShardIndex
from dentgen.conditions.readers.tar import index_tar, read_tar
from dentgen.conditions.shard_content import SHA256, shard_content
from dentgen.documents.index import DatasetIndex
from dentgen.errors import ConditionError, faults_of
from dentgen.records import IMAGE_FORMATS, PHOTO_MEMBER
from dentgen.storage import StoredFile

#: Longer keys of samples are cut, so that variants of them find room in a tar's names.
_MAX_KEY_BYTES: Final = 80
_DIGEST_CHARS: Final = 10


def build_shards(index_url: str, folder: str, files: Mapping[str, StoredFile]) -> list[ConditionShard]:
    """The shards that a build's index names, and no others: a folder may hold some that were never committed.

    Args:
        index_url: The index.
        folder: Name of the folder of shards, relative to the build.
        files: Files of the build by name relative to it.

    Raises:
        ConditionError: If the index cannot be read, or a shard is missing or has another size.
    """
    try:
        index = DatasetIndex.model_validate_json(storage.read_bytes(index_url))
    except ValidationError as error:
        raise ConditionError(storage.without_secrets(index_url), faults_of(error), "the index of a build") from error
    return [_shard(f"{folder}/{each.name}", each.bytes, each.sha256, index_url, files) for each in index.shards]


def _shard(name: str, size: int, sha256: str, index_url: str, files: Mapping[str, StoredFile]) -> ConditionShard:
    file = files.get(name)
    if file is None or file.size != size:
        found = "no file" if file is None else f"{file.size} bytes"
        raise ConditionError(f"{storage.without_secrets(index_url)}: {name}", found, f"{size} bytes, as the index says")
    return ConditionShard(name, file.url, "build", file.size, file.tag, sha256=sha256)


def index_build(shard: ConditionShard, *, with_metadata: bool) -> ShardIndex:
    """Index the samples of a shard.

    Args:
        shard: A shard of kind ``build``.
        with_metadata: Also read the samples' splits and attributes.

    Raises:
        ConditionError: If a local shard's bytes are not those that the index names; an object store's are compared by
            their number alone.
        StorageError: If the storage fails.
    """
    content = shard_content(shard)
    if content.startswith(SHA256) and content != SHA256 + shard.sha256:
        expected = f"sha256 {shard.sha256}, as its build's index says; 'dentgen repair' makes it again"
        raise ConditionError(shard.place, f"sha256 {content.removeprefix(SHA256)}", expected)
    return index_tar(shard, with_metadata=with_metadata, named=_split_and_attributes, key_of=record_key)


def read_build(shard: ConditionShard, wanted: RecordRange) -> Iterator[RawRecord]:
    """Read the samples of a range as condition records.

    Args:
        shard: A shard of kind ``build``.
        wanted: Positions, and optionally the byte range that contains them.

    Raises:
        ConditionError: If the shard is damaged before the end of the range.
        StorageError: If the storage fails.
    """
    for raw in read_tar(shard, wanted):
        members = {_member(name): content for name, content in raw.members.items()}
        if "json" in members:
            members["json"] = _record_metadata(members["json"])
        yield RawRecord(record_key(raw.key), raw.place, members, raw.problem, is_sample=True)


def record_key(key: str) -> str:
    """Key of the record of a sample: the sample's own, or its beginning and a digest if it is too long for a record."""
    if len(key.encode("utf-8", "surrogateescape")) <= _MAX_KEY_BYTES:
        return key
    digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:_DIGEST_CHARS]
    room = _MAX_KEY_BYTES - len(digest) - 1
    return f"{key.encode('utf-8', 'surrogateescape')[:room].decode('utf-8', 'ignore')}-{digest}"


def _member(extension: str) -> str:
    """A record's name of a sample's member: the picture is the photo."""
    return f"{PHOTO_MEMBER}.{extension}" if extension in IMAGE_FORMATS else extension


def _record_metadata(content: bytes) -> bytes:
    """``KEY.json`` of a sample with its attributes and licence where a record has them; what is no JSON as it is."""
    with suppress(ValueError):
        values: Any = json.loads(content)
        if isinstance(values, dict) and isinstance(attributes := values.get("attributes"), dict):
            values = {**values, **attributes, "license": values.get("source_license", "")}
            return json.dumps(values, sort_keys=True).encode()
    return content


def _split_and_attributes(content: bytes | None) -> tuple[str | None, str]:
    return split_and_attributes(None if content is None else _record_metadata(content))
