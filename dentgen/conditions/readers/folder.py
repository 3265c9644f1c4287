"""Condition records as loose files in a folder: ``KEY.seg.png``, ``KEY.light.png``, ``KEY.json`` and so on.

Refuses to know what members hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dentgen import storage
from dentgen.conditions.decode import KNOWN_MEMBERS
from dentgen.conditions.metadata import MAX_METADATA_BYTES, split_and_attributes
from dentgen.conditions.readers.raw import (
    MAX_MEMBER_BYTES,
    ConditionShard,
    RawRecord,
    RecordRange,
    ShardIndex,
    printable,
    short,
    split_member,
)
from dentgen.errors import ConditionError

_SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".webp", ".json")
#: How maps are called, whatever they are stored as.
_NAMES: Final = tuple(f"{name.partition('.')[0]}." for name in KNOWN_MEMBERS if "." in name)

Files = dict[str, storage.StoredFile]


def loose_files(files: list[storage.StoredFile]) -> list[storage.StoredFile]:
    """The files of a listing that can be members, or were meant to be; a folder may hold a license or notes too.

    Meant to be is what is named like a map, or stands beside a member of its key: such a record is rejected by name.
    """
    named = [(file, *parts) for file in files if (parts := split_member(file.url))]
    keys = {key for file, key, member in named if file.url.lower().endswith(_SUFFIXES) or member.startswith(_NAMES)}
    return [file for file, key, _ in named if key in keys]


def index_folder(shard: ConditionShard, *, with_metadata: bool) -> ShardIndex:
    """Keys and metadata of a folder, sorted by key.

    Raises:
        StorageError: If a file cannot be read.
    """
    records = _records(shard)
    keys = tuple(sorted(records))
    named = [split_and_attributes(_metadata(records[key])) for key in keys] if with_metadata else None
    return ShardIndex.of(keys, named)


def _metadata(files: Files) -> bytes | None:
    file = files.get("json")
    if file is None:
        return None
    return storage.read_bytes(file.url) if file.size <= MAX_METADATA_BYTES else b""


def read_folder(shard: ConditionShard, wanted: RecordRange) -> Iterator[RawRecord]:
    """Raw records of a range.

    Raises:
        StorageError: If a file cannot be read.
    """
    records = _records(shard)
    for key in sorted(records)[wanted.start : wanted.stop]:
        record = RawRecord(key, printable(storage.join(shard.url, short(key))))
        for extension, file in sorted(records[key].items()):
            record.members[extension] = b""
            if file.size > MAX_MEMBER_BYTES:
                place = f"{record.place}.{extension}"
                record.problem = ConditionError(place, f"{file.size} bytes", f"at most {MAX_MEMBER_BYTES}")
            else:
                record.members[extension] = storage.read_bytes(file.url)
        yield record


def _records(shard: ConditionShard) -> dict[str, Files]:
    """Loose files by key and extension; two whose names differ in case alone are two members, one of them unknown."""
    records: dict[str, Files] = {}
    for file in sorted(shard.files, key=lambda file: file.url):
        parts = split_member(storage.relative_name(shard.url, file.url))
        if parts is not None:
            files = records.setdefault(parts[0], {})
            files[parts[1] if parts[1] not in files else f"{parts[1]} (file {len(files) + 1})"] = file
    return records
