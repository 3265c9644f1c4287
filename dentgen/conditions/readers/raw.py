"""Types shared by all readers: a condition shard, its index, and a record of undecoded bytes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from dentgen import storage
from dentgen.errors import ConditionError

ShardKind = Literal["tar", "parquet", "folder"]

_KEY_AND_EXTENSION: Final = re.compile(r"^((?:.*/)?[^./][^./]*)\.([^/]+)$", re.DOTALL)
MAX_MEMBER_BYTES: Final = 256 * 2**20


@dataclass(frozen=True, slots=True)
class ConditionShard:
    """An ordered, indexable set of records.

    Attributes:
        name: Name relative to the source; decides the order of shards.
        url: Location of the file or folder.
        kind: Storage format.
        size: Size in bytes; for a folder, the sum over its files.
        tag: Changes with the content (etag or mtime).
        files: Files of a folder, in no particular order; empty for other kinds.
    """

    name: str
    url: str
    kind: ShardKind
    size: int
    tag: str
    files: tuple[storage.StoredFile, ...] = ()

    @property
    def place(self) -> str:
        """URL without credentials, for messages: these end up in published datasets."""
        return storage.without_secrets(self.url)


@dataclass(frozen=True, slots=True)
class RecordRange:
    """Records ``start`` to ``stop`` of a shard.

    Attributes:
        start: First position.
        stop: One past the last position.
        byte_range: For a tar, first byte and end of a range that contains these records and only complete records; None
            for the whole file.
        before: Number of records in the byte range before ``start``.
    """

    start: int
    stop: int
    byte_range: tuple[int, int] | None = None
    before: int = 0


EVERYTHING: Final = RecordRange(0, 2**63 - 1)


@dataclass(frozen=True, slots=True)
class ShardIndex:
    """Records of a shard, as planning needs them.

    Attributes:
        keys: Record keys in reading order.
        splits: Split of every record, None for a record with unreadable metadata; None if metadata were not requested.
        offsets: For a tar, first byte of every record and end of the last one; empty for other kinds.
        problem: Why the shard could not be read to its end, "" if it could.
        problem_key: Key of the record at which reading stopped, "" if unknown.
        attributes: Attributes of every record as JSON; None if metadata were not requested.
    """

    keys: tuple[str, ...]
    splits: tuple[str | None, ...] | None
    offsets: tuple[int, ...] = ()
    problem: str = ""
    problem_key: str = ""
    attributes: tuple[str, ...] | None = None

    @classmethod
    def of(
        cls,
        keys: Sequence[str],
        named: Sequence[tuple[str | None, str]] | None,
        offsets: Sequence[int] = (),
        problem: str = "",
        problem_key: str = "",
    ) -> ShardIndex:
        """Build an index from ``(split, attributes)`` pairs; None if metadata were not requested."""
        splits = attributes = None
        if named is not None:
            splits, attributes = tuple(split for split, _ in named), tuple(text for _, text in named)
        return cls(tuple(keys), splits, tuple(offsets), problem, problem_key, attributes)


@dataclass(slots=True)
class RawRecord:
    """Undecoded members of one record.

    Attributes:
        key: Record key.
        place: Shard and key, for messages.
        members: Content by extension in lower case ("seg.png"); b"" for a member that cannot be read.
        problem: Error found while reading the record, None if there was none.
    """

    key: str
    place: str
    members: dict[str, bytes] = field(default_factory=dict)
    problem: ConditionError | None = None


def split_member(name: str) -> tuple[str, str] | None:
    """Split a member name at the first dot of its last path segment.

    Returns:
        ``(key, extension)`` with the extension in lower case; a name without a dot is a key with the extension "", so
        that its record is rejected by name. None for hidden files, which archivers leave behind.
    """
    name = name.removeprefix("./")
    if storage.name_of(name).startswith("."):
        return None
    match = _KEY_AND_EXTENSION.match(name)
    return (match[1], match[2].lower()) if match else (name, "")


def short(text: str) -> str:
    """Shorten text to at most 200 printable characters, for messages: names in a tar may be megabytes long."""
    return printable(text[:200])[:200]


def printable(text: str) -> str:
    """Escape control characters and lone surrogates, so that text is safe in terminals, JSON and any encoding."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)
