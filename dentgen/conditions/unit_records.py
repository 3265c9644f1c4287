"""A unit's records: read, checked and fitted, or rejected by name; every planned record is one or the other.

Refuses to know models and what is made from a record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Final

from dentgen.conditions.decode import decode_record, valid_key
from dentgen.conditions.metadata import read_metadata
from dentgen.conditions.prepare import fit_record
from dentgen.conditions.readers.raw import ConditionShard, RawRecord, RecordRange, short
from dentgen.conditions.readers.source import read_records
from dentgen.documents import SampleStatus, Unit, sample_key
from dentgen.errors import BuildError, ConditionError
from dentgen.records import ConditionRecord
from dentgen.spec.build import BuildSpec

#: Records by position that must not be read again, because they killed a process, with what is known of them.
Quarantine = Mapping[int, RawRecord]
EMPTY_QUARANTINE: Final[Quarantine] = MappingProxyType({})


def read_unit(
    spec: BuildSpec, unit: Unit, shard: ConditionShard, quarantine: Quarantine = EMPTY_QUARANTINE
) -> tuple[list[ConditionRecord], list[SampleStatus]]:
    """Checked, fitted records of a unit, and what was rejected; every planned record is in one of the two.

    Args:
        spec: How records are read.
        unit: Which records.
        shard: Where they are.
        quarantine: Those that are rejected without a look at them.

    Raises:
        BuildError: If the source is not what was planned; what is no fault of a record must not be counted as one.
    """
    if unit.problem:
        return [], _rejections(unit, unit.start, unit.problem_key, unit.problem, spec.sampling.variants)
    records: list[ConditionRecord] = []
    rejected: list[SampleStatus] = []
    found = 0
    for position, raw in _raw_records_around(unit, shard, quarantine):
        times = unit.repeats[found] if found < len(unit.repeats) else 1
        if position in quarantine:
            rejected += _rejections(unit, position, raw.key, str(raw.problem), times * spec.sampling.variants)
            found += 1
            continue
        try:
            record = _usable_record(raw, spec, is_duplicate=position in unit.duplicates)
        except ConditionError as error:
            rejected += _rejections(unit, position, raw.key, str(error), times * spec.sampling.variants)
        else:
            if record is None:
                continue
            if spec.source.times(record.attributes) != times:
                raise _changed(
                    unit, shard, f"{raw.key} with {record.attributes}", f"attributes that ask for {times} times"
                )
            records.append(record)
        found += 1
    if found != unit.records:
        raise _changed(unit, shard, f"{found} records", f"{unit.records}")
    return records, rejected


def check_records(
    spec: BuildSpec, unit: Unit, shard: ConditionShard, positions: tuple[int, int], name: Callable[[int, str], None]
) -> None:
    """Do all that ``read_unit`` does with a part of a unit's records, and keep nothing.

    Args:
        spec: How records are read.
        unit: Which records.
        shard: Where they are.
        positions: The first one, and one past the last one.
        name: Told position and key of a record before it is decoded.

    Raises:
        BuildError: If the source is not what was planned.
    """
    for position, raw in _raw_records(unit, shard, *positions):
        name(position, raw.key)
        with suppress(ConditionError):
            _usable_record(raw, spec, is_duplicate=position in unit.duplicates)


def _raw_records_around(unit: Unit, shard: ConditionShard, quarantine: Quarantine) -> Iterator[tuple[int, RawRecord]]:
    """All records in order; the quarantine ones as they are known, the others read in the runs between them."""
    start = unit.start
    for position, known in sorted(quarantine.items()):
        yield from _raw_records(unit, shard, start, position)
        yield position, known
        start = position + 1
    yield from _raw_records(unit, shard, start, unit.stop)


def _raw_records(unit: Unit, shard: ConditionShard, start: int, stop: int) -> Iterator[tuple[int, RawRecord]]:
    if shard.size != unit.shard_bytes:
        raise _changed(unit, shard, f"{shard.size} bytes", f"{unit.shard_bytes}")
    if start == stop:
        return
    byte_range = (unit.first_byte, unit.end_byte) if unit.end_byte else None
    try:
        yield from enumerate(read_records(shard, RecordRange(start, stop, byte_range, start - unit.start)), start)
    except ConditionError as error:
        raise _changed(unit, shard, error.found, error.expected) from error


def _changed(unit: Unit, shard: ConditionShard, found: str, expected: str) -> BuildError:
    return BuildError(
        f"unit {unit.name}: {shard.place} changed since the build was planned: found {found}, expected {expected}; "
        "restore it, or build from it into another output.path"
    )


def _usable_record(raw: RawRecord, spec: BuildSpec, *, is_duplicate: bool) -> ConditionRecord | None:
    """The fitted record, or None if it belongs to another split."""
    if spec.source.split is not None and read_metadata(raw.place, raw.members.get("json")).split != spec.source.split:
        return None
    for name in spec.source.ignore_members:
        raw.members.pop(name, None)
    record = decode_record(raw, spec.conditions.use, with_photo=spec.sampling.start_from == "photo")
    if is_duplicate:
        raise ConditionError(raw.place, "a key that an earlier record has", "a key unique in the source")
    return fit_record(record, spec.conditions.size, spec.conditions.fit)


def _rejections(unit: Unit, position: int, key: str, reason: str, variants: int) -> list[SampleStatus]:
    """A rejected record in the ledger: under its key if that names it and nothing else, otherwise under its place."""
    named = valid_key(key) and position not in unit.duplicates and not unit.problem
    name = key if named else f"{unit.shard}#{position}"
    return [
        SampleStatus(
            key=sample_key(name, variant),
            source_key=short(key) or name,
            variant=variant,
            status="rejected",
            reason=reason,
        )
        for variant in range(variants)
    ]
