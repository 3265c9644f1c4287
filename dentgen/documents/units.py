"""The unit of work, and the names of units and samples."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Unit:
    """The atom of work, retry and commit: records ``start`` to ``stop`` of one condition shard, times variants.

    Attributes:
        id: Number of the unit; its output shard is shards/ID.tar.
        shard: Condition shard, relative to the source.
        start, stop: First record of the range, and one past the last.
        records: Records of the range that the build uses; others belong to another split.
        duplicates: Positions in the shard whose key an earlier record of the source already has.
        repeats: How many times the variants of each used record are generated; empty: once.
        shard_bytes: Size of the condition shard when the build was planned.
        shard_tag: Its tag (etag or mtime) then, "" if it is not to be compared.
        shard_content: What identifies its content, wherever it lies and whenever it was copied; "" for unknown.
        first_byte, end_byte: Byte range of the records in a tar; ``end_byte`` is 0 if the shard is no tar.
        problem: Why the unit's only record cannot be read, found when the source was indexed; "" if it can.
        problem_key: Key of the record at which reading ended, if it is known.
    """

    id: int
    shard: str
    start: int
    stop: int
    records: int
    shard_bytes: int
    duplicates: tuple[int, ...] = ()
    repeats: tuple[int, ...] = ()
    first_byte: int = 0
    end_byte: int = 0
    problem: str = ""
    problem_key: str = ""
    shard_tag: str = ""
    shard_content: str = ""

    @property
    def name(self) -> str:
        """Six digits, or more if needed."""
        return unit_name(self.id)

    def samples(self, variants: int) -> int:
        """Samples planned, at ``variants`` per record."""
        return variants * (sum(self.repeats) if self.repeats else self.records)


def unit_name(number: int) -> str:
    """Name of a unit in file names: six digits, or more if needed."""
    return f"{number:06d}"


def sample_key(record_key: str, variant: int) -> str:
    """Key of one variant of a record."""
    return f"{record_key}-v{variant:03d}"
