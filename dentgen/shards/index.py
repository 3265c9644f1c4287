"""Sealing: when no unit is pending, the ledger becomes an index, a table of samples and ``_SUCCESS``.

Readers use the index and never list folders. Refuses to know how samples are made.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq

from dentgen import storage
from dentgen.documents import DatasetIndex, LedgerRecord, ShardEntry
from dentgen.errors import BuildError, StorageError, faults_of
from dentgen.records import ATTRIBUTES
from dentgen.shards.ledger import SHARDS, committed_units, read_ledger
from dentgen.shards.plan import Plan
from dentgen.shards.tar import json_bytes
from dentgen.spec.build import BuildSpec

INDEX, SAMPLES, SUCCESS, VERSIONS = "index.json", "samples.parquet", "_SUCCESS", "versions"
_THREADS = 16

#: One row a planned sample. Constants of the build stand in every row too, so that the table can be filtered alone.
SAMPLE_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("source_key", pa.string()),
        ("group", pa.string()),
        ("split", pa.string()),
        ("variant", pa.int32()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("shard", pa.string()),
        ("seed", pa.int64()),
        ("prompt", pa.string()),
        ("negative_prompt", pa.string()),
        ("scheduler", pa.string()),
        ("steps", pa.int32()),
        ("guidance_scale", pa.float64()),
        ("adapters", pa.string()),
        ("loras", pa.list_(pa.string())),
        ("bundle", pa.string()),
        ("bundle_digest", pa.string()),
        ("spec_digest", pa.string()),
        ("software", pa.string()),
        ("source_license", pa.string()),
        *((name, pa.string()) for name in ATTRIBUTES),
        ("teeth", pa.list_(pa.uint8())),
        ("light_level", pa.int32()),
        ("synthetic", pa.bool_()),
    ]
)


def read_ledgers(out: str, plan: Plan) -> list[LedgerRecord]:
    """Every commit record of a plan, in the plan's order.

    Raises:
        BuildError: If a unit has none.
    """
    done = committed_units(out)
    missing = [unit.name for unit in plan.units if unit.name not in done]
    if missing:
        raise BuildError(f"{out}: {len(missing)} of {len(plan.units)} units are not done, first {missing[0]}")
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(lambda unit: read_ledger(out, unit.name), plan.units))


def index_of(plan: Plan, ledgers: Sequence[LedgerRecord]) -> DatasetIndex:
    """The index that a plan's ledger amounts to."""
    return DatasetIndex(
        version=plan.segment,
        spec_digest=plan.spec_digest,
        bundle_digest=plan.bundle_digest,
        planned=plan.planned,
        written=sum(record.written for record in ledgers),
        rejected=sum(record.rejected for record in ledgers),
        shards=tuple(
            ShardEntry(name=record.shard, bytes=record.bytes, sha256=record.sha256, samples=record.written)
            for record in ledgers
            if record.shard
        ),
    )


def seal(out: str, plan: Plan) -> DatasetIndex:
    """Write the version's index, the table of samples and the latest index.

    Raises:
        BuildError: If a unit is not done, a shard is gone or cut off, or planned samples are not the sum of written
            and rejected ones.
    """
    ledgers = read_ledgers(out, plan)
    index = index_of(plan, ledgers)
    if index.planned != index.written + index.rejected:
        raise BuildError(
            f"{out}: planned {index.planned} samples, but the ledger has "
            f"{index.written} written and {index.rejected} rejected"
        )
    _require_shards(out, index)
    content = json_bytes(index.model_dump(mode="json"))
    storage.put_if_absent(storage.join(out, VERSIONS, str(index.version), INDEX), content)
    storage.overwrite(storage.join(out, SAMPLES), _samples_parquet(plan, ledgers))
    storage.overwrite(storage.join(out, INDEX), content)
    return index


def _require_shards(out: str, index: DatasetIndex) -> None:
    """What was lost since its unit was committed must not be sealed; one listing tells, ``verify`` reads every byte."""
    folder = storage.join(out, SHARDS)
    there = storage.list_files(folder) if storage.exists(folder) else []
    sizes = {storage.name_of(file.url): f"{file.size} bytes" for file in there}
    wrong = [shard for shard in index.shards if sizes.get(shard.name) != f"{shard.bytes} bytes"]
    if wrong:
        first = wrong[0]
        raise BuildError(
            f"{folder}: {len(wrong)} of {len(index.shards)} committed shards are gone or cut off, first {first.name}: "
            f"found {sizes.get(first.name, 'nothing')}, expected {first.bytes} bytes; "
            f"'dentgen repair {storage.without_secrets(out)}' makes them again"
        )


def mark_success(out: str) -> None:
    """Say that everything that belongs to the build is there; the last thing that is put."""
    storage.put_if_absent(storage.join(out, SUCCESS), b"")


def read_index(out: str, name: str = "index.json") -> DatasetIndex:
    """The latest index of a build, or the one under another name.

    Raises:
        StorageError: If the build has not been sealed, or the file is no index.
    """
    url = storage.join(out, name)
    try:
        return DatasetIndex.model_validate_json(storage.read_bytes(url))
    except ValueError as error:
        raise StorageError(f"{url}: no index: {faults_of(error)}") from error


def _samples_parquet(plan: Plan, ledgers: Sequence[LedgerRecord]) -> bytes:
    spec = BuildSpec.model_validate(plan.spec)
    sampling, model = spec.sampling, spec.model
    constants = {
        "seed": sampling.seed,
        "negative_prompt": sampling.negative_prompt,
        "scheduler": sampling.scheduler_name,
        "steps": sampling.steps,
        "guidance_scale": sampling.guidance_scale,
        "adapters": json_bytes({**model.adapters, **model.controlnets}).decode().strip(),
        "loras": list(model.scaled_loras),
        "bundle": model.bundle,
        "bundle_digest": plan.bundle_digest,
        "spec_digest": plan.spec_digest,
        "software": json_bytes(plan.environment).decode().strip(),
        "synthetic": sampling.synthetic,
    }
    rows = [
        {
            **constants,
            **sample.model_dump(exclude={"warnings", "attributes"}),
            **{name: sample.attributes.get(name, "") for name in ATTRIBUTES},
            "shard": record.shard if sample.status == "written" else "",
        }
        for record in ledgers
        for sample in record.samples
    ]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=SAMPLE_SCHEMA), buffer)
    return buffer.getvalue()
