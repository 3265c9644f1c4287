"""The plan: which units a build has and everything that decides their bytes, fixed before anything runs.

Refuses to know how a unit is made.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from itertools import zip_longest
from typing import Final

import torch

from dentgen import storage
from dentgen.conditions.decode import record_split
from dentgen.conditions.sources import ConditionShard, list_shards, read_records, shard_keys
from dentgen.errors import BuildError, ConditionError, SpecChangedError
from dentgen.models.bundle import bundle_digest
from dentgen.records import Plan, Unit
from dentgen.shards.tar import json_bytes
from dentgen.spec import BuildSpec, spec_difference

PLAN: Final = "plan"
_INDEX_THREADS: Final = 16
#: Libraries whose version can change a sample's bytes.
_DECIDING_LIBRARIES: Final = ("dentgen", "torch", "diffusers", "transformers", "peft", "numpy", "pillow", "webdataset")


def make_plan(spec: BuildSpec) -> Plan:
    """Index the source and cut it into units.

    Raises:
        ConditionError: If the source has no readable shard.
        BuildError: If no record is left to use.
    """
    shards = list_shards(spec.source.path, spec.source.format)
    with ThreadPoolExecutor(_INDEX_THREADS) as pool:
        keys = list(pool.map(lambda shard: _index(shard, spec.source.split), shards))
    units = tuple(_cut(shards, keys, spec))
    if not units:
        raise BuildError(f"{spec.source.path}: found no record of split {spec.source.split!r}, expected at least one")
    return Plan(
        segment=0,
        spec=_resolved(spec).model_dump(mode="json"),
        spec_digest=spec.digest(),
        bundle_digest=bundle_digest(spec.model.bundle, spec.model.adapters),
        environment=environment(spec),
        units=units,
    )


def adopt_plan(out: str, plan: Plan) -> Plan:
    """Publish a plan, or take up the one that stands there.

    Returns:
        The plan of record.

    Raises:
        SpecChangedError: If the build was begun with another spec, bundle, environment or set of records; the message
        spells
            out the difference.
    """
    url = plan_url(out)
    if storage.put_if_absent(url, json_bytes(plan.model_dump(mode="json"))):
        return plan
    standing = read_plan(out)
    difference = _difference(standing, plan)
    if difference:
        raise SpecChangedError(
            f"{url}: this build was begun differently; choose another output.path, or undo:\n  "
            + "\n  ".join(difference)
        )
    return standing


def read_plan(out: str) -> Plan:
    """The plan that stands in a build.

    Raises:
        BuildError: If there is none.
    """
    url = plan_url(out)
    if not storage.exists(url):
        raise BuildError(f"{url}: no plan is there, expected a build begun by 'dentgen generate'")
    return Plan.model_validate_json(storage.read_bytes(url))


def plan_url(out: str) -> str:
    """Where the first plan segment stands."""
    return storage.join(out, PLAN, "000000.json")


def environment(spec: BuildSpec) -> dict[str, str]:
    """Device kind, precision, slots, threads and library versions."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = spec.engine.dtype if spec.engine.dtype != "auto" else ("float16" if device == "cuda" else "float32")
    kind = torch.cuda.get_device_name() if device == "cuda" else _cpu_kind()
    return {
        "device": device,
        "device_kind": kind,
        "dtype": dtype,
        "slots": str(spec.engine.slots),
        "control_slots": str(spec.control_slots),
        "threads": str(spec.engine.threads),
        "python": platform.python_version(),
        **{name: version(name) for name in _DECIDING_LIBRARIES},
    }


def _cpu_kind() -> str:
    """The instruction set that torch dispatches to: it decides which kernels run."""
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"


def _resolved(spec: BuildSpec) -> BuildSpec:
    engine = spec.engine.model_copy(update={"control_slots": spec.control_slots})
    source = spec.source.model_copy(update={"path": storage.without_secrets(spec.source.path)})
    output = spec.output.model_copy(update={"path": storage.without_secrets(spec.output.path)})
    return spec.model_copy(update={"engine": engine, "source": source, "output": output})


def _index(shard: ConditionShard, split: str | None) -> list[str | None]:
    """Keys of a shard in order; None for records of another split.

    A record whose split cannot be read counts as wanted: generation rejects it where everyone can see it.
    """
    if split is None:
        return list(shard_keys(shard))
    keys: list[str | None] = []
    for raw in read_records(shard, 0, 2**63 - 1):
        try:
            found = record_split(raw)
        except ConditionError:
            found = split
        keys.append(raw.key if found == split else None)
    return keys


def _cut(shards: list[ConditionShard], keys: list[list[str | None]], spec: BuildSpec) -> Iterator[Unit]:
    """Fixed ranges of each shard; duplicates of earlier keys are named, so that their unit rejects them."""
    step = max(1, spec.pipeline.samples_per_shard // spec.sampling.variants)
    seen: set[str] = set()
    number = 0
    for shard, shard_index in zip(shards, keys, strict=True):
        for start in range(0, len(shard_index), step):
            wanted = [n for n in range(start, min(start + step, len(shard_index))) if shard_index[n] is not None]
            duplicates = _duplicates(wanted, shard_index, seen)
            if wanted:
                yield Unit(
                    id=number,
                    shard=shard.name,
                    start=start,
                    stop=min(start + step, len(shard_index)),
                    records=len(wanted),
                    duplicates=duplicates,
                    shard_bytes=shard.size,
                )
                number += 1


def _duplicates(positions: list[int], keys: list[str | None], seen: set[str]) -> tuple[int, ...]:
    found = []
    for position in positions:
        key = str(keys[position])
        if key in seen:
            found.append(position)
        seen.add(key)
    return tuple(found)


def _difference(old: Plan, new: Plan) -> list[str]:
    lines = []
    if old.spec_digest != new.spec_digest:
        old_spec, new_spec = (BuildSpec.model_validate(plan.spec).deciding() for plan in (old, new))
        lines += spec_difference(old_spec, new_spec)
    if old.bundle_digest != new.bundle_digest:
        lines.append(f"bundle digest: {old.bundle_digest} -> {new.bundle_digest}")
    lines += spec_difference({"environment": old.environment}, {"environment": new.environment})
    if old.units != new.units:
        pairs = zip_longest(old.units, new.units)
        before, after = next((x, y) for x, y in pairs if x != y)
        lines.append(
            f"source: {len(old.units)} units -> {len(new.units)} units, the first that differs: {before!r} -> {after!r}"
        )
    return lines
