"""Condition records in WebDataset tars: indexed once, then any range of records is read with one request.

Tars may be truncated, damaged or malicious; they are read up to the damage, whose position is reported.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator
from contextlib import suppress
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
from dentgen.conditions.readers.scattered import ScatteredKeys
from dentgen.errors import ConditionError

#: From the content of a ``json`` member, if there is one, to split and attributes.
Named = Callable[[bytes | None], tuple[str | None, str]]

_BLOCK: Final = tarfile.BLOCKSIZE
#: Archivers pad to 10 kB; more data than this after the end-of-archive block is not padding.
_MAX_PADDING: Final = 2**20
#: Headers that hold the name or attributes of the next one; archivers write some hundred bytes.
_EXTENSION_TYPES: Final = (
    tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE,
)  # fmt: skip
_MAX_EXTENSION: Final = 2**20
#: Attributes of one member; set for all, they would be lost where a range of the tar is read.
_OWN: Final = ("path", "linkpath", "size", "hdrcharset", "GNU.sparse")
#: Members of a record that are looked at; what follows makes it a scattered one.
_MAX_MEMBERS: Final = 1000


@dataclass(frozen=True, slots=True)
class _Member:
    key: str
    extension: str
    data: int
    size: int
    is_file: bool
    end: int  # offset of the next header


def index_tar(
    shard: ConditionShard,
    *,
    with_metadata: bool,
    named: Named = split_and_attributes,
    key_of: Callable[[str], str] = str,
) -> ShardIndex:
    """Index the records of a tar, up to the first damage.

    Args:
        shard: A shard that is a tar.
        with_metadata: Also read the records' splits and attributes.
        named: Reads them from the content of a record's ``json`` member.
        key_of: Key of a record whose members have a key.

    Raises:
        StorageError: If the storage fails.
    """
    keys: list[str] = []
    told: list[tuple[str | None, str]] = []
    offsets = [0]
    problem = problem_key = ""
    with storage.open_read(shard.url) as handle:
        groups, scattered = _Groups(_members(handle, shard)), ScatteredKeys()
        try:
            for group in groups:
                scattered.note(group[0].key, [member.extension for member in group])
                keys.append(key_of(group[0].key))
                offsets.append(group[-1].end)
                if with_metadata:
                    told.append(named(_metadata(handle, group)))
        except ConditionError as error:
            problem, problem_key = str(error), groups.last_key
    if not keys and not problem:
        problem = str(ConditionError(shard.place, "no record", "at least one"))
    if scattered.keys:
        kept = list(scattered.once(range(len(keys)), keys.__getitem__))
        told = [(None, "{}") if keys[n] in scattered.keys else told[n] for n in kept] if with_metadata else []
        keys, offsets = [keys[n] for n in kept], []
    return ShardIndex.of(keys, told if with_metadata else None, offsets, problem, problem_key)


def read_tar(shard: ConditionShard, wanted: RecordRange) -> Iterator[RawRecord]:
    """Read the records of a range.

    Args:
        shard: A shard that is a tar.
        wanted: Positions, and optionally the byte range that contains them.

    Raises:
        ConditionError: If the tar is damaged before the end of the range.
        StorageError: If the storage fails.
    """
    if wanted.byte_range is None or wanted.byte_range[1] - wanted.byte_range[0] > MAX_MEMBER_BYTES:
        with storage.open_read(shard.url) as handle:
            scattered = _scattered(handle, shard) if wanted.byte_range is None else ScatteredKeys()
            groups = scattered.once(_Groups(_members(handle, shard)), lambda group: group[0].key)
            for group in islice(groups, wanted.start, wanted.stop):
                yield _record(handle, shard, group, scattered)
        return
    # the range holds complete records, so with an end-of-archive block appended it is an archive of its own
    handle = io.BytesIO(storage.read_range(shard.url, *wanted.byte_range) + bytes(2 * _BLOCK))
    for group in islice(_Groups(_members(handle, shard)), wanted.before, wanted.before + wanted.stop - wanted.start):
        yield _record(handle, shard, group)


class _Groups:
    """Consecutive members with the same key, as WebDataset groups them; a repeated member starts a new record.

    Attributes:
        last_key: Key of the member read last, "" at the end of the archive.
    """

    def __init__(self, members: Iterator[_Member | None]) -> None:
        self._members = members
        self.last_key = ""

    def __iter__(self) -> Iterator[list[_Member]]:
        group: list[_Member] = []
        for member in self._members:
            if group and not _continues(group, member):
                yield group
                group = []
            group += [member] if member is not None else []
            self.last_key = member.key if member is not None else ""


def _scattered(handle: IO[bytes], shard: ConditionShard) -> ScatteredKeys:
    """Look for scattered keys in the whole tar, up to the first damage."""
    found = ScatteredKeys()
    with suppress(ConditionError):
        for group in _Groups(_members(handle, shard)):
            found.note(group[0].key, [member.extension for member in group])
    return found


class _Header(tarfile.TarInfo):
    """A header that is read in bounded memory: tarfile would read names, attributes and sparse maps of gigabytes."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        """Called by tarfile for every header, with the archive behind it."""
        if self.type in _EXTENSION_TYPES and self.size > _MAX_EXTENSION:
            raise tarfile.ReadError(f"a header extension of {self.size} bytes, at most {_MAX_EXTENSION} are read")
        member: tarfile.TarInfo = super()._proc_member(archive)  # type: ignore[misc]
        return member

    def _proc_gnusparse_10(self, member: tarfile.TarInfo, *_: object) -> None:
        """Leave the map of a sparse file, which lies in its data, unread: its record is rejected anyway."""
        member.__dict__["sparse"] = []


def _continues(group: list[_Member], member: _Member | None) -> bool:
    return (
        member is not None
        and member.key == group[0].key
        and len(group) < _MAX_MEMBERS
        and all(member.extension != earlier.extension for earlier in group)
    )


def _members(handle: IO[bytes], shard: ConditionShard) -> Iterator[_Member | None]:
    """Yield the members of a tar except folders and hidden files, then None at the end-of-archive block.

    ``tarfile`` silently stops at an unreadable header, follows negative sizes backwards (CVE-2025-8194), and returns a
    last member whose data are truncated; all three are reported as damage.
    """
    size = handle.seek(0, io.SEEK_END)
    handle.seek(0)
    reached = 0  # end of what has been read without error
    try:
        with tarfile.open(fileobj=handle, mode="r:", tarinfo=_Header) as archive:
            while (info := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # or it keeps every header
                if own := [name for name in archive.pax_headers if name.startswith(_OWN)]:
                    raise _damage(shard, f"a global header that sets {short(own[0])} of every member")
                if info.size < 0 or info.offset < reached:
                    raise _damage(shard, f"a header that points backwards at byte {info.offset}")
                reached = info.offset_data
                member = _member(info, archive.offset)
                if member is not None:
                    yield member
                # the size of a sparse file includes holes, which are not stored
                if (archive.offset if info.issparse() else info.offset_data + info.size) > size:
                    raise _damage(shard, f"the member {short(info.name)!r} cut off at byte {size}")
            reached = archive.offset
    # tarfile raises an IndexError where a sparse header is cut off
    except (tarfile.TarError, ValueError, IndexError, OverflowError, RecursionError, MemoryError) as error:
        raise _damage(shard, f"{str(error) or type(error).__name__} at byte {reached}") from error
    handle.seek(reached)
    if handle.read(_BLOCK) != bytes(_BLOCK):
        found = f"neither a header nor an end-of-archive block at byte {reached}, {size - reached} bytes unread"
        raise _damage(shard, found)
    yield None
    _check_rest(handle, shard, reached)


def _member(info: tarfile.TarInfo, end: int) -> _Member | None:
    parts = split_member(info.name)
    if parts is None or info.isdir():
        return None
    is_file = info.isfile() and not info.issparse()
    return _Member(*parts, info.offset_data, info.size if is_file else 0, is_file, end)


def _check_rest(handle: IO[bytes], shard: ConditionShard, end: int) -> None:
    """Require zeros after the end-of-archive block: a concatenated archive would be lost silently."""
    size = handle.seek(0, io.SEEK_END)
    handle.seek(end)
    rest = handle.read(min(size - end, _MAX_PADDING))
    if size - end > _MAX_PADDING or rest.strip(b"\0"):
        raise _damage(shard, f"{size - end} bytes, not all zero, after the end-of-archive block at byte {end}")


def _damage(shard: ConditionShard, found: str) -> ConditionError:
    return ConditionError(shard.place, found, "a complete, uncompressed tar")


def _record(
    handle: IO[bytes], shard: ConditionShard, group: list[_Member], scattered: ScatteredKeys | None = None
) -> RawRecord:
    record = RawRecord(group[0].key, f"{storage.name_of(shard.url)}: {short(group[0].key)}")
    if scattered is not None and record.key in scattered.keys:
        record.members["json"] = b""  # its split, too, is unknown
        record.problem = scattered.problem(record.place)
        return record
    for member in group:
        place = f"{record.place}.{member.extension}"
        record.members[member.extension] = b""
        if not member.is_file:
            record.problem = ConditionError(place, "a link, device or sparse file", "a regular file")
        elif member.size > MAX_MEMBER_BYTES:
            record.problem = ConditionError(place, f"{member.size} bytes", f"at most {MAX_MEMBER_BYTES} bytes")
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
