"""Verification of one shard's samples against plan and schemas: members, encodings, labels, metadata."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator, Mapping
from itertools import chain
from typing import Final

import numpy as np
from PIL import Image
from pydantic import ValidationError

from dentgen.documents.ledger import LedgerRecord
from dentgen.documents.samples import SampleMetadata, SampleStatus
from dentgen.records import (
    CONDITION_MEMBER,
    FDI_MEMBER,
    FINDING_MEMBER,
    MOTION_MEMBERS,
    PAINTED_MEMBER,
    PILLOW_FORMAT,
    light_level,
)
from dentgen.shards.plan import Plan
from dentgen.shards.reader import Members, tar_samples

_MAP_MODES: Final = {
    **{f"{name}.png": ("I;16",) for name in ("depth", *MOTION_MEMBERS)},
    "normal.png": ("RGB",),
}

_LIGHT: Final = f"{CONDITION_MEMBER['lighting']}.png"
#: What metadata and ledger both say of a sample.
_SHARED_FIELDS: Final = (
    "source_key", "group", "split", "variant", "prompt", "source_license", "attributes", "teeth", "findings",
    "gate", "retries", "reference", "changed", "warnings",
)  # fmt: skip

#: Found problems: key and text.
Found = Iterator[tuple[str, str]]


def sample_problems(data: bytes, record: LedgerRecord, plan: Plan, labels: Mapping[str, Collection[int]]) -> Found:
    """Check every sample of a shard whose hash matches.

    Args:
        data: The shard.
        record: Its ledger record.
        plan: The build's plan.
        labels: Allowed values of label members.

    Yields:
        Sample key, and what was found and expected.
    """
    samples = dict(tar_samples(data))
    expected = {sample.key for sample in record.samples if sample.status == "written"}
    for key in sorted(expected - samples.keys()):
        yield key, "missing from the shard, listed as written in the ledger"
    for key in sorted(samples.keys() - expected):
        yield key, "in the shard, but not listed as written in the ledger"
    statuses = {sample.key: sample for sample in record.samples}
    for key, members in samples.items():
        for text in chain(_problems(key, members, plan, labels), _status_problems(members, statuses.get(key))):
            yield key, text


def expected_members(plan: Plan) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Format and modes of every image member of the plan's samples, by extension."""
    used = (f"{CONDITION_MEMBER[name]}.png" for name in plan.spec.conditions.use)
    asked = {f"{FINDING_MEMBER}.png"} if plan.num_findings else set()
    painted = {f"{PAINTED_MEMBER}.png"} if plan.spec.regions.painted else set()
    moved = {f"{name}.png" for name in MOTION_MEMBERS} if plan.spec.sampling.noise == "motion" else set()
    maps = {"seg.png", f"{FDI_MEMBER}.png", *used, *asked, *painted, *moved}
    picture = plan.spec.output.image_format
    return {
        picture: (PILLOW_FORMAT[picture], ("RGB",)),
        **{name: ("PNG", _MAP_MODES.get(name, ("L",))) for name in maps},
    }


def _problems(key: str, members: Members, plan: Plan, labels: Mapping[str, Collection[int]]) -> Iterator[str]:
    images = expected_members(plan)
    if members.keys() != {*images, "json"}:
        yield f"found members {sorted(members)}, expected {sorted([*images, 'json'])}"
        return
    for extension, (image_format, modes) in images.items():
        values = range(plan.num_findings + 1) if extension == f"{FINDING_MEMBER}.png" else labels.get(extension)
        yield from _image_problems(extension, members[extension], image_format, modes, plan, values)
    yield from _metadata_problems(key, members["json"], plan)
    if plan.num_findings:
        yield from _finding_problems(members)
    if plan.spec.regions.painted:
        yield from _painted_problems(members)


def _image_problems(
    extension: str, data: bytes, image_format: str, modes: tuple[str, ...], plan: Plan, values: Collection[int] | None
) -> Iterator[str]:
    height, width = plan.spec.conditions.shape
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            found = (image.format, image.mode, image.size)
            present = set(np.unique(np.asarray(image)).tolist()) if values is not None else set()
    except (OSError, SyntaxError, ValueError) as error:
        yield f"{extension}: no image ({error}), expected {image_format}"
        return
    if found not in [(image_format, mode, (width, height)) for mode in modes]:
        yield f"{extension}: found {found}, expected {(image_format, modes[0], (width, height))}"
    if values is not None and not present <= set(values):
        yield f"{extension}: found values {sorted(present - set(values))}, expected only {sorted(values)}"


def _finding_problems(members: Members) -> Iterator[str]:
    """Where the map of findings and the metadata disagree."""
    name = f"{FINDING_MEMBER}.png"
    try:
        asked = SampleMetadata.model_validate_json(members["json"]).findings
        with Image.open(io.BytesIO(members[name])) as image:
            values, pixels = np.unique(np.asarray(image), return_counts=True)
    except (ValidationError, OSError, SyntaxError, ValueError):
        return  # reported already
    found = {int(value): int(count) for value, count in zip(values, pixels, strict=True) if value}
    if found != (expected := {one.label: one.pixels for one in asked}):
        yield f"{name}: found pixels by label {found}, expected {expected}, as in json"


def _painted_problems(members: Members) -> Iterator[str]:
    """Bits of the map of painted regions that no entry of the metadata belongs to."""
    name = f"{PAINTED_MEMBER}.png"
    try:
        entries = SampleMetadata.model_validate_json(members["json"]).painted
        with Image.open(io.BytesIO(members[name])) as image:
            most = int(np.asarray(image).max())
    except (ValidationError, OSError, SyntaxError, ValueError):
        return  # reported already
    if entries is None:
        yield "json: found no painted, expected a list"
    elif most >> len(entries):
        yield f"{name}: found values up to {most}, expected at most {(1 << len(entries)) - 1}, as in json"


def _status_problems(members: Members, status: SampleStatus | None) -> Iterator[str]:
    """What the ledger says of a sample and its own metadata and lighting map do not."""
    try:
        metadata = SampleMetadata.model_validate_json(members.get("json", b""))
    except ValidationError:
        return  # reported already
    if status is None:
        return
    for field in _SHARED_FIELDS:
        found, expected = getattr(status, field), getattr(metadata, field)
        if found != expected:
            yield f"the ledger has {field} {found!r}, the sample {expected!r}"
    if _LIGHT in members and status.light_level != (level := _light_level(members[_LIGHT])):
        yield f"the ledger has light_level {status.light_level!r}, the sample {level!r}"


def _light_level(content: bytes) -> int | None:
    try:
        with Image.open(io.BytesIO(content)) as image:
            return light_level(np.asarray(image))
    except (OSError, SyntaxError, ValueError):
        return None  # reported already


def _metadata_problems(key: str, content: bytes, plan: Plan) -> Iterator[str]:
    try:
        metadata = SampleMetadata.model_validate_json(content)
    except ValidationError as error:
        yield f"json: {error.error_count()} fields violate the schema, first {error.errors()[0]['loc']}"
        return
    height, width = plan.spec.conditions.shape
    for field, wanted in {
        "key": key,
        "height": height,
        "width": width,
        "spec_digest": plan.spec_digest,
        "bundle_digest": plan.bundle_digest,
        "software": plan.environment,
    }.items():
        if getattr(metadata, field) != wanted:
            yield f"json: found {field} {getattr(metadata, field)!r}, expected {wanted!r}"
    if unknown := metadata.augment.keys() - plan.spec.augment.used.keys():
        yield f"json: found augment {sorted(unknown)}, expected only {sorted(plan.spec.augment.used)}"
