"""Sealed builds without a model: shards, ledger and index in the format of real ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dentgen import storage
from dentgen.documents.ledger import LedgerRecord, UnitTiming
from dentgen.documents.samples import SampleStatus
from dentgen.documents.units import Unit
from dentgen.generation.samples import sample_members
from dentgen.records import ConditionRecord, GeneratedSample, SampleRequest
from dentgen.shards import layout
from dentgen.shards.index import seal
from dentgen.shards.ledger import digest_of
from dentgen.shards.plan import Plan
from dentgen.shards.plan_file import write_plan
from dentgen.shards.tar import json_bytes, tar_bytes
from dentgen.shards.unit_table import UnitTable
from dentgen.spec.build import BuildSpec

#: Unix time at which fake builds start.
START = 1_800_000_000.0
VIEWS = ("frontal", "left", "right")
#: Text that would break Markdown, YAML, HTML or a terminal.
HOSTILE = "a | b ` <script>alert(1)</script>\n---\n# [x](http://evil)\n```\n: {license: mit} \x00" + "x" * 400


def written(number: int, *, variants: int = 2, **fields: Any) -> list[SampleStatus]:
    """Written samples of one record."""
    key = f"jaw-{number:03d}"
    values: dict[str, Any] = {
        "group": f"patient-{number // 3}",
        "split": "train" if number % 4 else "validation",
        "prompt": f"a photo of teeth, {VIEWS[number % 3]} view",
        "source_license": "CC0-1.0",
        "attributes": {"view": VIEWS[number % 3]},
        "teeth": (11, 21, 36),
        "light_level": 100 + number,
        **fields,
    }
    return [
        SampleStatus(key=f"{key}-v{v:03d}", source_key=key, variant=v, status="written", **values)
        for v in range(variants)
    ]


def rejected(number: int, reason: str, *, variants: int = 2) -> list[SampleStatus]:
    """Rejected samples of one record."""
    key = f"bad-{number:03d}"
    return [
        SampleStatus(key=f"{key}-v{v:03d}", source_key=key, variant=v, status="rejected", reason=reason)
        for v in range(variants)
    ]


Draw = Callable[[str, tuple[int, int]], np.ndarray]


def noise(key: str, shape: tuple[int, int]) -> np.ndarray:
    """A picture (H, W, 3) of noise."""
    return np.random.default_rng(list(key.encode())).integers(0, 255, (*shape, 3), np.uint8)


def members(
    sample: SampleStatus, shape: tuple[int, int] = (16, 16), plan: Plan | None = None, draw: Draw = noise
) -> dict[str, bytes]:
    """Members of a sample: a picture by key and shape, maps in stripes, and metadata."""
    picture = draw(sample.key, shape)
    height, width = shape
    stripes = np.zeros(shape, np.uint8)
    stripes[height // 4 : height // 2], stripes[height // 2 : 3 * height // 4] = 1, 2
    teeth = np.where(stripes == 2, np.resize(np.array(sample.teeth or (0,), np.uint8), width), 0).astype(np.uint8)
    record = ConditionRecord(
        key=sample.source_key,
        group=sample.group,
        split=sample.split,
        prompt=sample.prompt,
        conditions={"segmentation": stripes, "lighting": np.full(shape, sample.light_level or 0, np.uint8)},
        fdi=teeth,
        photo=None,
        license=sample.source_license,
        attributes=sample.attributes,
        warnings=sample.warnings,
    )
    request = SampleRequest(sample.key, record, sample.variant, sample.variant + 1, 0, sample.prompt, controls={})
    return sample_members(plan or fake_plan(), GeneratedSample(request, picture))


def fake_plan(units: Sequence[int] = (1,), **sections: Mapping[str, Any]) -> Plan:
    """A plan of units with these numbers of records; ``sections`` are keys of the build spec."""
    values: dict[str, Mapping[str, Any]] = {"sampling": {"variants": 2}, "conditions": {"size": 16}}
    values |= {name: {**values.get(name, {}), **keys} for name, keys in sections.items()}
    spec = BuildSpec.model_validate(values)
    return Plan(
        segment=0,
        spec=spec,
        spec_digest=spec.digest(),
        bundle_digest="b" * 64,
        environment={"dentgen": "0.1.0", "device": "cpu"},
        units=UnitTable.of(
            Unit(id=number, shard="a.tar", start=0, stop=1, records=records, shard_bytes=1)
            for number, records in enumerate(units)
        ),
    )


def fake_build(
    out: Path,
    units: Sequence[list[SampleStatus]],
    timings: Sequence[UnitTiming | None] = (),
    draw: Draw = noise,
    **sections: Mapping[str, Any],
) -> Plan:
    """Write and seal a build of these samples and pictures; ``sections`` are keys of the build spec."""
    plan = fake_plan([len(samples) // 2 for samples in units], **sections)
    for number, samples in enumerate(units):
        write_unit(out, plan, plan.units[number], samples, timings[number] if timings else None, draw)
    write_plan(str(out), plan)
    seal(str(out), plan)
    return plan


def with_spec(plan: Plan, **sections: Mapping[str, Any]) -> Plan:
    """The plan with some keys of its spec replaced, without validation."""
    updates = {name: getattr(plan.spec, name).model_copy(update=dict(keys)) for name, keys in sections.items()}
    return replace(plan, spec=plan.spec.model_copy(update=updates))


def write_unit(
    out: Path,
    plan: Plan,
    unit: Unit,
    samples: list[SampleStatus],
    timing: UnitTiming | None,
    draw: Draw,
) -> None:
    good = [sample for sample in samples if sample.status == "written"]
    shape = (16, 16) if plan.spec.conditions.size is None else plan.spec.conditions.shape
    shard = tar_bytes((sample.key, members(sample, shape, plan, draw)) for sample in good) if good else b""
    record = LedgerRecord(
        unit=unit.id,
        spec_digest=plan.spec_digest,
        bundle_digest=plan.bundle_digest,
        shard=layout.shard_file(unit.name) if shard else "",
        bytes=len(shard),
        sha256=digest_of(shard),
        samples=tuple(samples),
        timing=timing,
    )
    if shard:
        storage.put_if_absent(storage.join(str(out), layout.shard(unit.name)), shard)
    content = json_bytes(record.model_dump(mode="json"))
    storage.put_if_absent(storage.join(str(out), layout.ledger(unit.name)), content)
