"""Condition records stored as loose files: ``KEY.seg.png``, ``KEY.light.png``, ``KEY.json`` and so on."""

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
from dentgen.errors import ConditionError, RefusedFileError

_SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".webp", ".json")
#: Names of maps without their image format, such as "seg.".
_MAP_PREFIXES: Final = tuple(f"{name.partition('.')[0]}." for name in KNOWN_MEMBERS if "." in name)

Files = dict[str, storage.StoredFile]


def loose_files(files: list[storage.StoredFile], source: str) -> list[storage.StoredFile]:
    """Select the files of a listing that belong to records; a folder may also hold a license or notes.

    A file belongs to a record if it is named like a map, in whatever format, or shares its key with a member. If such a
    file cannot be read, its record is rejected instead of losing a member silently.

    Args:
        files: The listing.
        source: Folder that was listed.
    """
    names = [(file, storage.relative_name(source, file.url)) for file in files]
    split_files = [(file, *parts) for file, name in names if (parts := split_member(name))]
    keys = {
        key
        for file, key, member in split_files
        if file.url.lower().endswith(_SUFFIXES) or member.startswith(_MAP_PREFIXES)
    }
    return [file for file, key, _ in split_files if key in keys]


def is_map(file: storage.StoredFile) -> bool:
    """Whether a file is named like a map or photo of a record, as ``KEY.seg.png``."""
    parts = split_member(storage.name_of(file.url))
    return parts is not None and parts[1].startswith(_MAP_PREFIXES)


def index_folder(shard: ConditionShard, *, with_metadata: bool) -> ShardIndex:
    """Index the records of a folder, sorted by key.

    Args:
        shard: A shard of kind ``folder``.
        with_metadata: Also read the records' splits and attributes.

    Raises:
        StorageError: If the storage fails; a file to which access is denied costs its record alone.
    """
    records = _records(shard)
    keys = tuple(sorted(records))
    named = [split_and_attributes(_metadata(records[key])) for key in keys] if with_metadata else None
    return ShardIndex.of(keys, named)


def _metadata(files: Files) -> bytes | None:
    file = files.get("json")
    if file is None:
        return None
    try:
        return storage.read_bytes(file.url) if file.size <= MAX_METADATA_BYTES else b""
    except RefusedFileError:
        return b""  # unreadable metadata; the record is rejected when it is read


def read_folder(shard: ConditionShard, wanted: RecordRange) -> Iterator[RawRecord]:
    """Read the records of a range.

    Args:
        shard: A shard of kind ``folder``.
        wanted: Positions in the order of ``index_folder``.

    Raises:
        StorageError: If the storage fails; a file to which access is denied costs its record alone.
    """
    records = _records(shard)
    for key in sorted(records)[wanted.start : wanted.stop]:
        record = RawRecord(key, printable(storage.join(shard.url, short(key))))
        for extension, file in sorted(records[key].items()):
            record.members[extension] = b""
            if file.size > MAX_MEMBER_BYTES:
                place = f"{record.place}.{extension}"
                record.problem = ConditionError(place, f"{file.size} bytes", f"at most {MAX_MEMBER_BYTES} bytes")
            else:
                _read_member(record, extension, file.url)
        yield record


def _read_member(record: RawRecord, extension: str, url: str) -> None:
    """Read a member; one to which access is denied costs its record, as a shard costs its records."""
    try:
        record.members[extension] = storage.read_bytes(url)
    except RefusedFileError:
        place = f"{record.place}.{extension}"
        record.problem = ConditionError(place, "a file to which access is denied", "one that can be read")


def _records(shard: ConditionShard) -> dict[str, Files]:
    """Group files by key and extension.

    Extensions are in lower case; of files that differ only in case, all but one are kept as unknown members.
    """
    records: dict[str, Files] = {}
    for file in sorted(shard.files, key=lambda file: file.url):
        parts = split_member(storage.relative_name(shard.url, file.url))
        if parts is not None:
            files = records.setdefault(parts[0], {})
            files[parts[1] if parts[1] not in files else f"{parts[1]} (file {len(files) + 1})"] = file
    return records
