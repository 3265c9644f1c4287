"""Verification: does every committed byte say what the ledger, the plan and the schemas say?

Finds problems and names them; refuses to repair.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from PIL import Image
from pydantic import ValidationError

from dentgen import storage
from dentgen.errors import StorageError
from dentgen.records import LedgerRecord, Plan, SampleMetadata, Unit
from dentgen.shards.index import INDEX, SUCCESS, read_index
from dentgen.shards.ledger import SHARDS, committed_units, read_ledger
from dentgen.shards.reader import tar_samples

_THREADS: Final = 4


def verify_build(out: str, plan: Plan) -> list[str]:
    """Check a whole build.

    Args:
        out: The build.
        plan: Its plan.

    Returns:
        One line a problem: the file or key, what was found, what was expected. Empty if there is none.
    """
    done = committed_units(out)
    problems = [
        f"ledger/{unit.name}.json: not there, the unit is not done" for unit in plan.units if unit.name not in done
    ]
    committed = [unit for unit in plan.units if unit.name in done]
    with ThreadPoolExecutor(_THREADS) as pool:
        for found in pool.map(lambda unit: list(_unit_problems(out, plan, unit)), committed):
            problems += found
    if len(committed) == len(plan.units):
        problems += _index_problems(out, plan)
    return problems


def _unit_problems(out: str, plan: Plan, unit: Unit) -> Iterator[str]:
    name = f"ledger/{unit.name}.json"
    try:
        record = read_ledger(out, unit.name)
    except StorageError as error:
        yield str(error)
        return
    planned = unit.records * int(plan.spec["sampling"]["variants"])
    if len(record.samples) != planned:
        yield f"{name}: found {len(record.samples)} samples, expected {planned}"
    for field in ("spec_digest", "bundle_digest"):
        if getattr(record, field) != getattr(plan, field):
            yield f"{name}: found {field} {getattr(record, field)}, expected {getattr(plan, field)}"
    if record.shard:
        yield from _shard_problems(out, plan, record)


def _shard_problems(out: str, plan: Plan, record: LedgerRecord) -> Iterator[str]:
    name = f"{SHARDS}/{record.shard}"
    try:
        data = storage.read_bytes(storage.join(out, SHARDS, record.shard))
    except (StorageError, FileNotFoundError):
        yield f"{name}: not there, expected {record.bytes} bytes"
        return
    found = hashlib.sha256(data).hexdigest()
    if found != record.sha256:
        yield f"{name}: found {len(data)} bytes with sha256 {found}, expected {record.bytes} with {record.sha256}"
        return
    samples = dict(tar_samples(data))
    expected = [sample.key for sample in record.samples if sample.status == "written"]
    if sorted(samples) != sorted(expected):
        missing, extra = sorted(set(expected) - set(samples)), sorted(set(samples) - set(expected))
        yield f"{name}: {len(missing)} samples missing {missing[:3]}, {len(extra)} unexpected {extra[:3]}"
    for key, members in samples.items():
        yield from _sample_problems(f"{name}: {key}", members, plan)


def _sample_problems(place: str, members: dict[str, bytes], plan: Plan) -> Iterator[str]:
    size = plan.spec["conditions"]["size"]
    wanted = {plan.spec["output"]["image_format"], "seg.png", "fdi.png", "json"}
    if not wanted <= members.keys():
        yield f"{place}: found members {sorted(members)}, expected at least {sorted(wanted)}"
        return
    for extension, content in members.items():
        if extension != "json":
            with Image.open(io.BytesIO(content)) as image:
                image.load()
                if image.size != (size, size):
                    yield f"{place}.{extension}: found {image.size} pixels, expected {(size, size)}"
    try:
        metadata = SampleMetadata.model_validate_json(members["json"])
    except ValidationError as error:
        yield f"{place}.json: {error.error_count()} fields off the schema, first {error.errors()[0]['loc']}"
        return
    if metadata.spec_digest != plan.spec_digest:
        yield f"{place}.json: found spec_digest {metadata.spec_digest}, expected {plan.spec_digest}"


def _index_problems(out: str, plan: Plan) -> Iterator[str]:
    if not storage.exists(storage.join(out, SUCCESS)):
        yield f"{SUCCESS}: not there, the build was not sealed"
        return
    index = read_index(out)
    ledgers = [read_ledger(out, unit.name) for unit in plan.units]
    by_name = {record.shard: record.sha256 for record in ledgers if record.shard}
    listed = {shard.name: shard.sha256 for shard in index.shards}
    if listed != by_name:
        differing = sorted(name for name in listed.keys() | by_name.keys() if listed.get(name) != by_name.get(name))
        yield f"{INDEX}: disagrees with the ledger on {json.dumps(differing[:5])}"
    if index.planned != index.written + index.rejected:
        yield f"{INDEX}: planned {index.planned}, but written {index.written} + rejected {index.rejected}"
