"""The nouns of reading: a condition shard, its index, a record that is still raw bytes.

Refuses to know how any format is read.
"""

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
        url: Where it is.
        kind: How it is read.
        size: Bytes.
        tag: Changes when the content does (etag or mtime).
        files: The loose files of a folder, in no order; empty for the others.
    """

    name: str
    url: str
    kind: ShardKind
    size: int
    tag: str
    files: tuple[storage.StoredFile, ...] = ()

    @property
    def place(self) -> str:
        """Where it is, for messages, which reach what people publish."""
        return storage.without_secrets(self.url)


@dataclass(frozen=True, slots=True)
class RecordRange:
    """Records ``start`` to ``stop`` of a shard.

    Attributes:
        start: The first one.
        stop: One past the last one.
        byte_range: In a tar, bytes that hold them and others around them, all whole; None: all bytes.
        before: How many records stand before ``start`` in the byte range.
    """

    start: int
    stop: int
    byte_range: tuple[int, int] | None = None
    before: int = 0


EVERYTHING: Final = RecordRange(0, 2**63 - 1)


@dataclass(frozen=True, slots=True)
class ShardIndex:
    """What a shard holds, as planning needs it.

    Attributes:
        keys: Record keys in reading order.
        splits: Split of every record, None where its metadata cannot be read; None if metadata were not asked for.
        offsets: Where each record begins in a tar, and where the last one ends; empty for other kinds.
        problem: Why the shard could not be read to its end, "" if it could.
        problem_key: Key of the record at which reading ended, "" if none had begun.
        attributes: Attributes of every record as JSON, None if metadata were not asked for.
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
        """An index whose records' metadata name a split and attributes each; None if metadata were not asked for."""
        splits = attributes = None
        if named is not None:
            splits, attributes = tuple(split for split, _ in named), tuple(words for _, words in named)
        return cls(tuple(keys), splits, tuple(offsets), problem, problem_key, attributes)


@dataclass(slots=True)
class RawRecord:
    """Undecoded members of one record.

    Attributes:
        key: Record key.
        place: Where it stands, for messages.
        members: Bytes by extension, lower case ("seg.png"); b"" for one that is there but cannot be read.
        problem: What was noticed while reading it, None if nothing was.
    """

    key: str
    place: str
    members: dict[str, bytes] = field(default_factory=dict)
    problem: ConditionError | None = None


def split_member(name: str) -> tuple[str, str] | None:
    """Split a member name at the first dot of its last segment: (key, extension).

    A name without a dot is a key without extension: no record of ours, but none to pass over in silence either. None
    for hidden files, which archivers leave behind.
    """
    name = name.removeprefix("./")
    if storage.name_of(name).startswith("."):
        return None
    match = _KEY_AND_EXTENSION.match(name)
    return (match[1], match[2].lower()) if match else (name, "")


def short(text: str) -> str:
    """Printable text of at most 200 characters: a tar's names may have a million, and every message would."""
    return printable(text[:200])[:200]


def printable(text: str) -> str:
    """Text that any encoding, terminal and JSON can carry: control characters and broken Unicode are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)
