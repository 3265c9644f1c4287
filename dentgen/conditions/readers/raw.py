"""Types shared by all readers: a condition shard, its index, and a record of undecoded bytes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from dentgen import storage
from dentgen.errors import ConditionError
from dentgen.redaction import escaped

ShardKind = Literal["tar", "parquet", "folder", "build"]

_KEY_AND_EXTENSION: Final = re.compile(r"^((?:.*/)?[^./][^./]*)\.([^/]+)$", re.DOTALL)
MAX_MEMBER_BYTES: Final = 256 * 2**20
#: Longer keys, all of them invalid, are cut: an archive may name a million keys of a megabyte.
_MAX_KEY_CHARS: Final = 1000
#: Names that file managers, archivers and Spark leave behind; editors' are told by their first and last characters.
_LEFTOVERS: Final = frozenset({"thumbs.db", "desktop.ini"})
_LEFTOVER_FOLDERS: Final = frozenset({"__macosx", "_temporary"})


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
        sha256: For a shard of a build, what the build's index says; "" for other kinds.
    """

    name: str
    url: str
    kind: ShardKind
    size: int
    tag: str
    files: tuple[storage.StoredFile, ...] = ()
    sha256: str = ""

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
        content: What identifies the shard's content, "" if it was not asked for.
    """

    keys: tuple[str, ...]
    splits: tuple[str | None, ...] | None
    offsets: tuple[int, ...] = ()
    problem: str = ""
    problem_key: str = ""
    attributes: tuple[str, ...] | None = None
    content: str = ""

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
        is_sample: Whether it is a sample of a finished build, whose picture is the record's photo.
    """

    key: str
    place: str
    members: dict[str, bytes] = field(default_factory=dict)
    problem: ConditionError | None = None
    is_sample: bool = False


def is_leftover(name: str) -> bool:
    """Whether a name belongs to no record: hidden, in a hidden folder, or left behind by an editor or archiver.

    Args:
        name: Name relative to the source; a folder above the source may be hidden.
    """
    *folders, last = [part for part in name.split("/") if part not in {"", ".", ".."}] or [""]
    if any(part.startswith(".") or part.lower() in _LEFTOVER_FOLDERS for part in folders):
        return True
    edited = last.endswith("~") or (last.startswith("#") and last.endswith("#"))
    return last.startswith(".") or edited or last.lower() in _LEFTOVERS | _LEFTOVER_FOLDERS


def split_member(name: str) -> tuple[str, str] | None:
    """Split a member name, relative to its source or archive, at the first dot of its last path segment.

    Returns:
        ``(key, extension)`` with the extension in lower case; a name without a dot is a key with the extension "", so
        that its record is rejected by name. None for what archivers and editors leave behind.
    """
    name = name.removeprefix("./")
    if is_leftover(name):
        return None
    match = _KEY_AND_EXTENSION.match(name)
    return (bounded_key(match[1]), bounded_key(match[2].lower())) if match else (bounded_key(name), "")


def bounded_key(key: str) -> str:
    """The key, or a short substitute for one that is far too long to be valid; different keys stay different."""
    if len(key) <= _MAX_KEY_CHARS:
        return key
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{key[:_MAX_KEY_CHARS]}... {len(key)} characters, sha256 {digest}"


def short(text: str) -> str:
    """Shorten text to at most 200 printable characters, for messages: names in a tar may be megabytes long."""
    return printable(text[:200])[:200]


def printable(text: str) -> str:
    """Escape control characters and lone surrogates, so that text is safe in terminals, JSON and any encoding."""
    return escaped(text)
