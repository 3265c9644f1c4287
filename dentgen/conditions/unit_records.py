"""Reading of a unit's records: every planned record is returned decoded and fitted, or rejected with a reason."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Protocol

from dentgen import storage
from dentgen.conditions.decode import decode_record, valid_key
from dentgen.conditions.lesion_map import with_findings_map
from dentgen.conditions.metadata import read_metadata
from dentgen.conditions.prepare import fit_record
from dentgen.conditions.readers.raw import ConditionShard, RawRecord, RecordRange, short, split_member
from dentgen.conditions.readers.source import read_records
from dentgen.conditions.shard_content import has_content
from dentgen.documents.units import Unit
from dentgen.errors import BuildError, ConditionError
from dentgen.records import ConditionRecord
from dentgen.spec.build import BuildSpec

#: Records by position that crashed a process and must not be read again, with their problem and, if known, their key.
Quarantine = Mapping[int, RawRecord]
EMPTY_QUARANTINE: Final[Quarantine] = MappingProxyType({})


class Digest(Protocol):
    """A hash of ``hashlib``."""

    def update(self, data: bytes, /) -> None:
        """Add bytes."""
        ...


@dataclass(frozen=True, slots=True)
class RejectedRecord:
    """A planned record that is rejected, with all of its samples.

    Attributes:
        name: The record's key in the keys of its samples, or a substitute if it is invalid or not unique.
        source_key: The record's key, shortened and escaped for display.
        variants: Number of samples planned for the record.
        reason: File, key, what was found and what was expected.
    """

    name: str
    source_key: str
    variants: int
    reason: str


def read_unit(
    spec: BuildSpec,
    unit: Unit,
    shard: ConditionShard,
    quarantine: Quarantine = EMPTY_QUARANTINE,
    digest: Digest | None = None,
) -> tuple[list[ConditionRecord], list[RejectedRecord]]:
    """Read the records of a unit.

    Args:
        spec: Spec of the build.
        unit: The unit.
        shard: The unit's condition shard.
        quarantine: Records to reject without reading them.
        digest: Updated with the bytes of every record as it was read.

    Returns:
        Decoded records fitted to ``conditions.size``, and rejected records; every planned record is in exactly one of
        the two.

    Raises:
        BuildError: If the shard is not the one that was planned, which is not counted against its records.
    """
    if unit.problem:
        return [], [_rejection(unit, unit.start, unit.problem_key, unit.problem, spec.sampling.variants)]
    records: list[ConditionRecord] = []
    rejected: list[RejectedRecord] = []
    planned_seen = 0
    for position, raw in _raw_records_around(unit, shard, quarantine):
        if digest is not None:
            _add_to(digest, raw)
        repeats = unit.repeats[planned_seen] if planned_seen < len(unit.repeats) else 1
        if position in quarantine:
            rejected.append(_rejection(unit, position, raw.key, str(raw.problem), repeats * spec.sampling.variants))
            planned_seen += 1
            continue
        try:
            record = _usable_record(raw, spec, is_duplicate=position in unit.duplicates)
        except ConditionError as error:
            rejected.append(_rejection(unit, position, raw.key, str(error), repeats * spec.sampling.variants))
        else:
            if record is None:
                continue
            if spec.source.repeats(record.attributes) != repeats:
                found_attributes = f"{raw.key} with {record.attributes}"
                raise _changed(unit, shard, found_attributes, f"attributes that give {repeats} repeats")
            records.append(record)
        planned_seen += 1
    if planned_seen != unit.records:
        raise _changed(unit, shard, f"{planned_seen} records", f"{unit.records} records")
    return records, rejected


def check_records(
    spec: BuildSpec, unit: Unit, shard: ConditionShard, positions: tuple[int, int], name: Callable[[int, str], None]
) -> None:
    """Dry run of ``read_unit`` over a range of records, used to find the one that crashes the reader.

    Args:
        spec: Spec of the build.
        unit: The unit.
        shard: The unit's condition shard.
        positions: First position, and one past the last position.
        name: Called with position and key of every record before it is decoded.

    Raises:
        BuildError: If the shard is not the one that was planned.
    """
    for position, raw in _raw_records(unit, shard, *positions):
        name(position, raw.key)
        with suppress(ConditionError):
            _usable_record(raw, spec, is_duplicate=position in unit.duplicates)


def _raw_records_around(unit: Unit, shard: ConditionShard, quarantine: Quarantine) -> Iterator[tuple[int, RawRecord]]:
    """Yield all records in order; quarantined ones are not read but yielded as given."""
    start = unit.start
    for position, known in sorted(quarantine.items()):
        yield from _raw_records(unit, shard, start, position)
        yield position, known
        start = position + 1
    yield from _raw_records(unit, shard, start, unit.stop)


def _raw_records(unit: Unit, shard: ConditionShard, start: int, stop: int) -> Iterator[tuple[int, RawRecord]]:
    if start == stop:
        return
    _require_planned(unit, shard)
    byte_range = (unit.first_byte, unit.end_byte) if unit.end_byte else None
    keys: set[str] = set()
    try:
        for position, raw in enumerate(
            read_records(shard, RecordRange(start, stop, byte_range, start - unit.start)), start
        ):
            keys.add(raw.key)
            yield position, raw
    except ConditionError as error:
        raise _changed(unit, shard, error.found, error.expected) from error
    _require_untouched(unit, shard, keys)


def _require_planned(unit: Unit, shard: ConditionShard) -> None:
    """Require the content that was planned; a copy has another time, which says nothing, so its bytes decide."""
    if shard.size != unit.shard_bytes:
        raise _changed(unit, shard, f"{shard.size} bytes", f"{unit.shard_bytes} bytes")
    if shard.tag != unit.shard_tag and not has_content(shard, unit.shard_content):
        raise _changed(unit, shard, "other content of the same size", unit.shard_content)


def _require_untouched(unit: Unit, shard: ConditionShard, keys: Collection[str]) -> None:
    """Require that nobody replaced what was read since it was listed: records would be of two versions."""
    names = ((file, split_member(storage.relative_name(shard.url, file.url))) for file in shard.files)
    read = [file for file, parts in names if parts is not None and parts[0] in keys]
    for file in read if shard.kind == "folder" else (storage.StoredFile(shard.url, shard.size, shard.tag),):
        if unit.shard_content and storage.file_state(file.url) != file:
            raise _changed(unit, shard, f"{file.url} replaced while it was read", "the file that was listed")


def _add_to(digest: Digest, raw: RawRecord) -> None:
    """Add key, member names and contents, each after its length, so that no two records give the same bytes."""
    parts = [raw.key.encode("utf-8", "surrogateescape")]
    for extension, content in sorted(raw.members.items()):
        parts += [extension.encode("utf-8", "surrogateescape"), content]
    digest.update(b"%d\n" % len(parts))
    for part in parts:
        digest.update(b"%d\n" % len(part))
        digest.update(part)


def _changed(unit: Unit, shard: ConditionShard, found: str, expected: str) -> BuildError:
    return BuildError(
        "changed since the build was planned",
        file=shard.place,
        key=f"unit {unit.name}",
        found=found,
        expected=expected,
        advice="restore the shard, or build from it into another output.path",
    )


def _usable_record(raw: RawRecord, spec: BuildSpec, *, is_duplicate: bool) -> ConditionRecord | None:
    """Decode and fit a record; None if it belongs to another split."""
    metadata = None
    if spec.source.split is not None:
        try:
            metadata = read_metadata(raw.place, raw.members.get("json"))
        except ConditionError as error:
            raise raw.problem or error from error
        if metadata.split != spec.source.split:
            return None
    for name in map(str.lower, spec.source.ignore_members):
        raw.members.pop(name, None)
        if raw.problem is not None and raw.problem.file == f"{raw.place}.{name}":
            raw.problem = None
    record = decode_record(
        raw, spec.required_conditions, with_photo=spec.sampling.needs_photo,
        with_painted=spec.regions.painted > 0, with_motion=spec.sampling.noise == "motion",
        with_frame=spec.sampling.noise != "record", metadata=metadata,
    )  # fmt: skip
    if is_duplicate:
        raise ConditionError(raw.place, "the key of an earlier record", "a key unique in the source")
    return fit_record(with_findings_map(record, spec.conditions.use), spec.conditions.shape, spec.conditions.fit)


def _rejection(unit: Unit, position: int, key: str, reason: str, variants: int) -> RejectedRecord:
    """Name a rejected record by its key if that is valid and unique, otherwise by its position."""
    named = valid_key(key) and position not in unit.duplicates and not unit.problem
    name = key if named else f"{unit.shard}#{position}"
    return RejectedRecord(name, short(key) or name, variants, reason)
