"""Laws for every input: it is accepted with valid labels or rejected by name, and nothing is lost silently.

Each law runs the real readers. Any exception but dentgen's own passes through and is a finding, as a ``LawBrokenError``
is.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Collection
from pathlib import Path

import numpy as np

from dentgen import storage
from dentgen.conditions.decode import decode_record, valid_key
from dentgen.conditions.labels import FDI_NUMBERS, SEG_CLASSES
from dentgen.conditions.metadata import read_metadata, split_and_attributes
from dentgen.conditions.readers.raw import ConditionShard, RawRecord, ShardIndex, printable, short
from dentgen.conditions.readers.source import index_shard, list_shards
from dentgen.conditions.unit_records import RejectedRecord, read_unit
from dentgen.documents.samples import SampleStatus
from dentgen.errors import BuildError, ConditionError, DentgenError, SpecError, StorageError
from dentgen.generation.samples import rejected_statuses
from dentgen.pipeline.source_index import read_source_index
from dentgen.pipeline.units import cut_units
from dentgen.records import CONDITION_NAMES, ConditionRecord
from dentgen.shards import layout
from dentgen.shards.index_reader import read_index
from dentgen.shards.ledger import read_ledger
from dentgen.shards.plan_file import read_plan
from dentgen.shards.unit_table import UnitTable
from dentgen.spec.build import BuildSpec
from dentgen.spec.yaml_file import read_spec
from tests.faults.pictures import Pixels

_LONGEST_MESSAGE = 5000
#: Inputs by kind and outcome in this process; the command that runs seeds prints and empties it.
OUTCOMES: Counter[str] = Counter()


class LawBrokenError(AssertionError):
    """An input was accepted or rejected where it must not be."""


def require(holds: object, what: str) -> None:
    """Raise if the law does not hold."""
    if not holds:
        raise LawBrokenError(what)


def require_message(error: DentgenError, place: str) -> None:
    """A rejection names the file, says what was found and expected, and its text is short and printable."""
    text = str(error)
    require(error.message or (error.found != "" and error.expected != ""), f"{text!r} says neither found nor expected")
    require(place in text, f"{text!r} does not name {place}")
    require(len(text) <= _LONGEST_MESSAGE, f"a message of {len(text)} characters: {text[:300]}")
    require(text.isprintable() or "\n" in text, f"{text!r} cannot be shown")


def check_map(member: str, data: bytes, truth: Pixels | None) -> None:
    """One map as the only one of a record: if it is accepted, its pixels are those that were written."""
    names = {"seg": "segmentation", "light": "lighting"}
    name = next((one for one in CONDITION_NAMES if one == names.get(member, member)), None)
    raw = RawRecord("key", "x.tar: key", {f"{member}.png": data})
    try:
        record = decode_record(raw, [name] if name else [], with_photo=True)
    except ConditionError as error:
        OUTCOMES["map refused"] += 1
        require_message(error, "x.tar: key")
        return
    OUTCOMES["map accepted"] += 1
    check_record(record, None)
    found = record.fdi if member == "fdi" else record.photo if member == "photo" else record.conditions[name or "depth"]
    if found is None:
        raise LawBrokenError(f"{member} was ignored")
    require(truth is None or np.array_equal(found, truth), f"{member} was accepted with other pixels than were written")


def check_record(record: ConditionRecord, shape: tuple[int, int] | None) -> None:
    """An accepted record: dtypes, shapes, classes, one size, text that can be stored."""
    require(valid_key(record.key), f"key {record.key!r}")
    for name, array in record.conditions.items():
        dtype = np.uint16 if name == "depth" else np.uint8
        require(array.dtype == dtype, f"{name} has dtype {array.dtype}")
        require(array.ndim == (3 if name == "normal" else 2), f"{name} has shape {array.shape}")
    seg = record.conditions.get("segmentation")
    require(seg is None or set(np.unique(seg).tolist()) <= SEG_CLASSES.keys(), "seg has unknown classes")
    require(record.fdi is None or set(np.unique(record.fdi).tolist()) <= FDI_NUMBERS | {0}, "fdi has unknown numbers")
    shapes = {array.shape[:2] for array in [*record.conditions.values(), *([] if record.fdi is None else [record.fdi])]}
    require(len(shapes) <= 1, f"maps of several sizes {shapes}")
    require(shape is None or shapes == {shape}, f"maps of {shapes}, expected {shape}")
    if record.photo is not None:
        require(record.photo.dtype == np.uint8 and record.photo.shape[2] == 3, f"photo {record.photo.shape}")
    texts = [record.group, record.split, record.prompt, record.license, *record.attributes.values()]
    require(
        all(json.dumps(text).encode() and text.encode() is not None for text in texts), "text that cannot be stored"
    )


def check_source(folder: Path, spec: BuildSpec, intact: Collection[str], num_records: int | None) -> None:
    """A whole source: planned = written + rejected, and every intact key is read or named.

    Args:
        folder: The source.
        spec: How it is read.
        intact: Keys whose members are all intact.
        num_records: Records that must be read if no shard's index has a problem; None if unknown.
    """
    try:
        shards = list_shards(spec.source.path, spec.source.format)
    except (ConditionError, StorageError) as error:
        OUTCOMES["source refused"] += 1
        require_message(error, str(folder))
        return
    indexes = []
    for shard in shards:
        try:
            indexes.append(index_shard(shard, with_metadata=spec.source.split is not None))
        except StorageError as error:
            require_message(error, str(folder))
            return
        _check_index(shard, indexes[-1])
    named = {key for index in indexes for key in index.keys} if spec.source.split is not None else set()
    read = _read_units(shards, indexes, spec, named)
    problems = [index.problem for index in indexes if index.problem]
    if spec.source.split is None and spec.source.limit is None:
        unread = {short(key) for index in indexes for key in index.keys} - {short(key) for key in read}
        require(unread <= {""}, f"keys that were planned and not read: {sorted(unread)[:5]}")
    lost = {short(key) for key in intact} - {short(key) for key in read}
    require(not lost or problems, f"records lost silently: {sorted(lost)[:5]}")
    require(num_records is None or problems or len(read) == num_records, f"{len(read)} records, expected {num_records}")


def _check_index(shard: ConditionShard, index: ShardIndex) -> None:
    require(index.splits is None or len(index.splits) == len(index.keys), "as many splits as keys")
    require(len(index.offsets) in {0, len(index.keys) + 1}, "no offsets, or one more than records")
    require(list(index.offsets) == sorted(index.offsets), f"offsets that decrease: {index.offsets}")
    empty = shard.kind == "parquet"  # Spark writes parts without a row
    require(index.keys or index.problem or empty, f"{shard.name} is empty and has no problem")
    require(not index.problem or shard.place in index.problem, f"{index.problem!r} does not name {shard.place}")
    require(len(index.problem) <= _LONGEST_MESSAGE, f"a problem of {len(index.problem)} characters")


def _read_units(
    shards: list[ConditionShard], indexes: list[ShardIndex], spec: BuildSpec, others: Collection[str]
) -> list[str]:
    """Keys of the records that were read, rejected or belong to another split, once each."""
    by_name = {shard.name: shard for shard in shards}
    read: list[str] = list(others)
    sample_keys: list[str] = []
    for unit in cut_units(shards, indexes, spec):
        accepted, rejected = read_unit(spec, unit, by_name[unit.shard])
        require(len(accepted) + len(rejected) == unit.records, f"unit {unit.name} does not add up")
        OUTCOMES[f"{by_name[unit.shard].kind} record accepted"] += len(accepted)
        OUTCOMES[f"{by_name[unit.shard].kind} record refused"] += len(rejected)
        for record in accepted:
            check_record(record, spec.conditions.shape)
        for one in rejected:
            require(one.variants == spec.sampling.variants, f"a rejection of {one.variants} samples")
            _check_rejection(one, by_name[unit.shard])
        read += [*(record.key for record in accepted), *(one.source_key for one in rejected)]
        sample_keys += [*(record.key for record in accepted), *(one.name for one in rejected)]
    require(len(set(sample_keys)) == len(sample_keys), "two samples with one key")
    return read


def _check_rejection(rejected: RejectedRecord, shard: ConditionShard) -> None:
    where, reason = "" if shard.kind == "folder" else storage.name_of(shard.url), rejected.reason
    require(printable(where) in reason, f"{reason!r} does not name {where!r}")
    require(rejected.source_key, "a rejection without a key")
    require(reason.isprintable(), f"{reason!r} cannot be shown")
    require(len(reason) <= _LONGEST_MESSAGE, f"a reason of {len(reason)} characters")
    for status in rejected_statuses(rejected):
        SampleStatus.model_validate_json(status.model_dump_json())


def check_metadata(data: bytes) -> None:
    """A record's ``KEY.json``."""
    try:
        found = read_metadata("x.tar: key", data)
    except ConditionError as error:
        OUTCOMES["metadata refused"] += 1
        require_message(error, "x.tar: key.json")
        require(split_and_attributes(data)[0] is None, "planning reads a split that generation rejects")
        return
    OUTCOMES["metadata accepted"] += 1
    require(split_and_attributes(data)[0] == found.split, "planning and generation disagree on the split")
    found.model_dump_json()


def check_plan(folder: Path, head: bytes, units: bytes) -> None:
    """A build's plan: an accepted one can be used as every command uses it."""
    storage.overwrite(str(folder / layout.plan_head()), head)
    storage.overwrite(str(folder / layout.plan_units()), units)
    try:
        plan = read_plan(str(folder))
    except BuildError as error:
        require_message(error, str(folder / layout.PLAN))
        return
    require(plan.planned >= 0, "a plan of fewer than no samples")
    plan.spec.digest()
    require([unit.id for unit in plan.units] == list(range(len(plan.units))), "units that are not numbered in order")
    require(all(unit.start < unit.stop for unit in plan.units), "units that end before they start")


def check_unit_table(data: bytes) -> None:
    """The units of a plan, whatever their hash: they are rejected, or numbered in order."""
    try:
        table = UnitTable.from_parquet(data)
    except ValueError as error:
        require(len(str(error)) <= _LONGEST_MESSAGE, f"a message of {len(str(error))} characters")
        return
    require(len(table) >= 0, "a table of fewer than no units")


def check_ledger(folder: Path, data: bytes) -> None:
    """A commit record."""
    storage.overwrite(str(folder / "ledger" / "000000.json"), data)
    try:
        record = read_ledger(str(folder), "000000")
    except StorageError as error:
        require_message(error, str(folder / "ledger" / "000000.json"))
        return
    require(record.written + record.rejected == len(record.samples), "samples do not add up")
    record.model_dump_json()


def check_index(folder: Path, data: bytes) -> None:
    """``index.json``."""
    storage.overwrite(str(folder / "index.json"), data)
    try:
        index = read_index(str(folder))
    except StorageError as error:
        require_message(error, str(folder / "index.json"))
        return
    require(all(shard.bytes >= 0 and shard.samples >= 0 for shard in index.shards), "fewer than no bytes or samples")
    require(all(shard.name == storage.name_of(shard.name) for shard in index.shards), "a shard outside shards/")
    index.model_dump_json()


def check_source_index(folder: Path, data: bytes, truth: bytes) -> None:
    """The cached index of a source: accepted only as it was written, ignored otherwise."""
    storage.overwrite(str(folder / "truth.parquet"), truth)
    storage.overwrite(str(folder / "source.parquet"), data)
    known, right = (read_source_index(str(folder / name)) for name in ("source.parquet", "truth.parquet"))
    require(right, "an intact source index is ignored")
    for place, index in known.items():
        _check_index(ConditionShard(place[0], place[0], "tar", place[1], place[2]), index)
        require(right.get(place) == index, f"{place}: accepted as {index}")


def check_spec(folder: Path, data: bytes, overrides: tuple[str, ...] = ()) -> None:
    """A build spec: an accepted one has a digest and survives being written."""
    path = folder / "spec.yaml"
    path.write_bytes(data)
    try:
        spec = read_spec(path, overrides)
    except SpecError as error:
        OUTCOMES["spec refused"] += 1
        text = str(error)
        require(str(path) in text or "--set" in text, f"{text[:300]!r} does not name {path}")
        require(len(text) <= 10 * _LONGEST_MESSAGE, f"a message of {len(text)} characters")
        return
    OUTCOMES["spec accepted"] += 1
    require(
        BuildSpec.model_validate_json(spec.model_dump_json()).digest() == spec.digest(), "another digest when read back"
    )
    numbers = [spec.conditions.alpha, spec.sampling.guidance_scale, spec.sampling.guidance_delta]
    for scale in (*spec.model.adapters.values(), *spec.model.controlnets.values()):
        numbers += scale.values() if isinstance(scale, dict) else [scale]
    numbers.append(spec.quality.max_rejected)
    require(all(map(math.isfinite, numbers)), f"numbers that are not finite: {numbers}")
