"""Condition records in WebDataset tars: index them once, read any range of them with one request.

A tar may be cut off, damaged or made to do harm. What can be read is read; where reading ended is said. Refuses to know
what members hold.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import IO, Final

from dentgen import storage
from dentgen.conditions.metadata import MAX_METADATA_BYTES, split_and_attributes
from dentgen.conditions.readers.raw import (
    MAX_MEMBER_BYTES,
    ConditionShard,
    RawRecord,
    RecordRange,
    ShardIndex,
    short,
    split_member,
)
from dentgen.errors import ConditionError

_BLOCK: Final = tarfile.BLOCKSIZE
#: Archivers pad to 10 kB; more than this after the end mark is something else.
_MOST_PADDING: Final = 2**20


@dataclass(frozen=True, slots=True)
class _Member:
    key: str
    extension: str
    data: int
    size: int
    is_file: bool
    end: int  # where the next header stands


def index_tar(shard: ConditionShard, *, with_metadata: bool) -> ShardIndex:
    """Keys and places of the records of a tar, as far as it can be read.

    Raises:
        StorageError: If the storage does not give the file.
    """
    keys: list[str] = []
    named: list[tuple[str | None, str]] = []
    offsets = [0]
    begun = problem = ""
    with storage.open_read(shard.url) as handle:
        groups = _Groups(_members(handle, shard))
        try:
            for group in groups:
                keys.append(group[0].key)
                offsets.append(group[-1].end)
                if with_metadata:
                    named.append(split_and_attributes(_metadata(handle, group)))
        except ConditionError as error:
            problem, begun = str(error), groups.begun
    if not keys and not problem:
        problem = str(ConditionError(shard.place, "no record", "at least one"))
    return ShardIndex.of(keys, named if with_metadata else None, offsets, problem, begun)


def read_tar(shard: ConditionShard, wanted: RecordRange) -> Iterator[RawRecord]:
    """Raw records of a range.

    Raises:
        ConditionError: If the tar is damaged before the range ends.
        StorageError: If the storage does not give the bytes.
    """
    if wanted.byte_range is None or wanted.byte_range[1] - wanted.byte_range[0] > MAX_MEMBER_BYTES:
        with storage.open_read(shard.url) as handle:
            groups = islice(_Groups(_members(handle, shard)), wanted.start, wanted.stop)
            yield from (_record(handle, shard, group) for group in groups)
        return
    # the index saw these bytes whole, so an end mark behind them makes them an archive of their own
    handle = io.BytesIO(storage.read_range(shard.url, *wanted.byte_range) + bytes(2 * _BLOCK))
    for group in islice(_Groups(_members(handle, shard)), wanted.before, wanted.before + wanted.stop - wanted.start):
        yield _record(handle, shard, group)


class _Groups:
    """Consecutive members of one key, as WebDataset collects them; a member that comes twice begins another record."""

    def __init__(self, members: Iterator[_Member | None]) -> None:
        self._members = members
        self.begun = ""

    def __iter__(self) -> Iterator[list[_Member]]:
        group: list[_Member] = []
        for member in self._members:
            if group and not _continues(group, member):
                yield group
                group = []
            group += [member] if member is not None else []
            self.begun = member.key if member is not None else ""


def _continues(group: list[_Member], member: _Member | None) -> bool:
    return (
        member is not None
        and member.key == group[0].key
        and all(member.extension != earlier.extension for earlier in group)
    )


def _members(handle: IO[bytes], shard: ConditionShard) -> Iterator[_Member | None]:
    """Headers of what a tar holds, folders and hidden files aside, then None for its end mark.

    ``tarfile`` stops in silence at a header that it cannot read, follows sizes that lead backwards, and hands out a
    last member whose data are cut off: all three are damage here.
    """
    size = handle.seek(0, io.SEEK_END)
    handle.seek(0)
    reached = 0
    try:
        with tarfile.open(fileobj=handle, mode="r:") as archive:
            for info in archive:
                if info.size < 0 or info.offset < reached:
                    raise _damage(shard, f"a header that leads backwards at byte {info.offset}")
                reached = info.offset_data
                member = _member(info, archive.offset)
                if member is not None:
                    yield member
                # a sparse file's size counts the holes, which are not stored
                if (archive.offset if info.issparse() else info.offset_data + info.size) > size:
                    raise _damage(shard, f"the member {short(info.name)!r} cut off at byte {size}")
            reached = archive.offset
    except (tarfile.TarError, ValueError, OverflowError, RecursionError, MemoryError) as error:
        raise _damage(shard, f"{str(error) or type(error).__name__} at byte {reached}") from error
    handle.seek(reached)
    mark = handle.read(_BLOCK)
    if mark != bytes(_BLOCK):
        raise _damage(shard, f"no readable header and no end mark at byte {reached}, {size - reached} bytes unread")
    yield None
    _check_rest(handle, shard, reached)


def _member(info: tarfile.TarInfo, end: int) -> _Member | None:
    parts = split_member(info.name)
    if parts is None or info.isdir():
        return None
    is_file = info.isfile() and not info.issparse()
    return _Member(*parts, info.offset_data, info.size if is_file else 0, is_file, end)


def _check_rest(handle: IO[bytes], shard: ConditionShard, end: int) -> None:
    """Only zeros may follow the end mark: another archive behind it would be lost in silence."""
    size = handle.seek(0, io.SEEK_END)
    handle.seek(end)
    rest = handle.read(min(size - end, _MOST_PADDING))
    if size - end > _MOST_PADDING or rest.strip(b"\0"):
        raise _damage(shard, f"{size - end} bytes that are not zeros after the end mark at byte {end}")


def _damage(shard: ConditionShard, found: str) -> ConditionError:
    return ConditionError(shard.place, found, "a whole, uncompressed tar")


def _record(handle: IO[bytes], shard: ConditionShard, group: list[_Member]) -> RawRecord:
    record = RawRecord(group[0].key, f"{storage.name_of(shard.url)}: {short(group[0].key)}")
    for member in group:
        place = f"{record.place}.{member.extension}"
        record.members[member.extension] = b""
        if not member.is_file:
            record.problem = ConditionError(place, "a link, device or sparse file", "a regular file")
        elif member.size > MAX_MEMBER_BYTES:
            record.problem = ConditionError(place, f"{member.size} bytes", f"at most {MAX_MEMBER_BYTES}")
        else:
            handle.seek(member.data)
            record.members[member.extension] = handle.read(member.size)
    return record


def _metadata(handle: IO[bytes], group: list[_Member]) -> bytes | None:
    for member in group:
        if member.extension == "json":
            handle.seek(member.data)
            return handle.read(member.size) if member.is_file and member.size <= MAX_METADATA_BYTES else b""
    return None
