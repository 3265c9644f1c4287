"""Where condition records come from: WebDataset tars, Parquet files, plain folders.

A source is a list of condition shards; a shard is an ordered list of records; a record here is still raw bytes by
member extension. Refuses to know what the bytes hold.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from dentgen import storage
from dentgen.errors import ConditionError

SourceFormat = Literal["auto", "webdataset", "parquet", "folder"]
ShardKind = Literal["tar", "parquet", "folder"]

_KEY_AND_EXTENSION: Final = re.compile(r"^((?:.*/)?[^./][^./]*)\.([^/]+)$")
_IMAGE_SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".webp", ".json")
KEY_COLUMN: Final = "__key__"
MAX_MEMBER_BYTES: Final = 256 * 2**20


@dataclass(frozen=True, slots=True)
class ConditionShard:
    """An ordered, indexable set of records.

    Attributes:
        name: Name relative to the source; decides the order of shards.
        url: Where it is.
        kind: How it is read.
        size: Bytes.
        tag: Changes when the content does (etag or mtime).
    """

    name: str
    url: str
    kind: ShardKind
    size: int
    tag: str


@dataclass(slots=True)
class RawRecord:
    """Undecoded members of one record.

    Attributes:
        key: Record key.
        place: Where it stands, for messages.
        members: Bytes by extension, lower case ("seg.png").
    """

    key: str
    place: str
    members: dict[str, bytes] = field(default_factory=dict)


def list_shards(source: str, source_format: SourceFormat = "auto") -> list[ConditionShard]:
    """Find the condition shards of a source, sorted by name whatever order the storage lists them in.

    Raises:
        ConditionError: If nothing readable is there.
        StorageError: If the source cannot be listed.
    """
    files = storage.list_files(source)
    shards: list[ConditionShard] = []
    kinds: tuple[tuple[str, ShardKind, SourceFormat], ...] = (
        (".tar", "tar", "webdataset"),
        (".parquet", "parquet", "parquet"),
    )
    for suffix, kind, wanted in kinds:
        if source_format in {"auto", wanted}:
            shards += [
                ConditionShard(storage.relative_name(source, file.url), file.url, kind, file.size, file.tag)
                for file in files
                if file.url.endswith(suffix)
            ]
    if not shards and source_format in {"auto", "folder"}:
        loose = [file for file in files if file.url.lower().endswith(_IMAGE_SUFFIXES)]
        if loose:
            tag = "/".join(sorted(file.tag for file in loose))
            shards = [ConditionShard(".", source, "folder", sum(file.size for file in loose), tag)]
    if not shards:
        raise ConditionError(
            source,
            f"{len(files)} files, none of them readable as {source_format}",
            "*.tar or *.parquet shards, or a folder of KEY.seg.png, KEY.light.png ... files",
        )
    return sorted(shards, key=lambda shard: shard.name)


def shard_keys(shard: ConditionShard) -> list[str]:
    """Record keys of a shard in reading order, without reading the members.

    Raises:
        ConditionError: If the shard cannot be read.
    """
    match shard.kind:
        case "tar":
            return [key for key, _ in _grouped(_tar_members(shard))]
        case "parquet":
            return [str(key) for key in _parquet_table(shard, [KEY_COLUMN])[KEY_COLUMN].to_pylist()]
        case "folder":
            return sorted(_folder_records(shard))


def read_records(shard: ConditionShard, start: int, stop: int) -> Iterator[RawRecord]:
    """Raw records ``start`` to ``stop`` of a shard, in order.

    Raises:
        ConditionError: If the shard cannot be read.
    """
    match shard.kind:
        case "tar":
            return _read_tar(shard, start, stop)
        case "parquet":
            return _read_parquet(shard, start, stop)
        case "folder":
            return _read_folder(shard, start, stop)


def split_member(name: str) -> tuple[str, str] | None:
    """Split a member name at the first dot of its last segment: (key, extension), None if it has no such form."""
    match = _KEY_AND_EXTENSION.match(name.removeprefix("./"))
    return (match[1], match[2].lower()) if match else None


@dataclass(frozen=True, slots=True)
class _Member:
    extension: str
    offset: int
    size: int
    name: str


def _tar_members(shard: ConditionShard) -> Iterator[tuple[str, _Member]]:
    """Headers of the regular files of a tar; members that try to leave the archive's folder are refused."""
    with storage.open_read(shard.url) as handle:
        try:
            with tarfile.open(fileobj=handle, mode="r:") as archive:
                for info in archive:
                    parts = split_member(info.name)
                    if not info.isfile() or parts is None:
                        continue
                    if info.name.startswith("/") or ".." in info.name.split("/"):
                        raise ConditionError(f"{shard.url}: {info.name!r}", "a path outside the archive",
                                             "a relative name without '..'")  # fmt: skip
                    yield parts[0], _Member(parts[1], info.offset_data, info.size, info.name)
        except tarfile.TarError as error:
            raise ConditionError(shard.url, str(error), "a readable, uncompressed tar") from error


def _grouped(members: Iterator[tuple[str, _Member]]) -> Iterator[tuple[str, list[_Member]]]:
    """Collect consecutive members of one key, as WebDataset does; a member that comes twice begins another record."""
    current: str | None = None
    collected: list[_Member] = []
    for key, member in members:
        repeated = any(member.extension == earlier.extension for earlier in collected)
        if current is not None and (key != current or repeated):
            yield current, collected
            collected = []
        current = key
        collected.append(member)
    if current is not None:
        yield current, collected


def _read_tar(shard: ConditionShard, start: int, stop: int) -> Iterator[RawRecord]:
    with storage.open_read(shard.url) as handle:
        for key, members in islice(_grouped(_tar_members(shard)), start, stop):
            record = RawRecord(key, f"{storage.name_of(shard.url)}: {key}")
            for member in members:
                if member.size > MAX_MEMBER_BYTES:
                    raise ConditionError(f"{record.place}.{member.extension}", f"{member.size} bytes",
                                         f"at most {MAX_MEMBER_BYTES}")  # fmt: skip
                handle.seek(member.offset)
                record.members[member.extension] = handle.read(member.size)
            yield record


def _parquet_table(shard: ConditionShard, columns: list[str] | None) -> pa.Table:
    with storage.open_read(shard.url) as handle:
        try:
            table = pq.read_table(handle, columns=columns)
        except (pa.ArrowException, OSError) as error:
            raise ConditionError(shard.url, f"no readable Parquet ({error})", "a whole Parquet file") from error
    if KEY_COLUMN not in table.column_names:
        raise ConditionError(shard.url, f"columns {table.column_names}", f"a column {KEY_COLUMN!r}")
    return table


def _read_parquet(shard: ConditionShard, start: int, stop: int) -> Iterator[RawRecord]:
    for row in _parquet_table(shard, None).slice(start, stop - start).to_pylist():
        key = str(row.pop(KEY_COLUMN))
        members = {
            name.lower(): value.encode() if isinstance(value, str) else value
            for name, value in row.items()
            if isinstance(value, (bytes, str))
        }
        yield RawRecord(key, f"{storage.name_of(shard.url)}: {key}", members)


def _folder_records(shard: ConditionShard) -> dict[str, dict[str, str]]:
    """URLs of the loose files under a folder by key and extension."""
    records: dict[str, dict[str, str]] = {}
    for file in storage.list_files(shard.url):
        parts = split_member(storage.relative_name(shard.url, file.url))
        if parts is not None and file.url.lower().endswith(_IMAGE_SUFFIXES):
            records.setdefault(parts[0], {})[parts[1]] = file.url
    return records


def _read_folder(shard: ConditionShard, start: int, stop: int) -> Iterator[RawRecord]:
    records = _folder_records(shard)
    for key in sorted(records)[start:stop]:
        members = {extension: storage.read_bytes(url) for extension, url in sorted(records[key].items())}
        yield RawRecord(key, storage.join(shard.url, key), members)
