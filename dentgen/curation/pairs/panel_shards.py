"""Panels as condition shards: the picture as photo, beside the maps that it was drawn from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import Field, ValidationError

from dentgen import storage
from dentgen.conditions.decode import decode_record
from dentgen.conditions.readers.raw import ConditionShard
from dentgen.conditions.readers.source import list_shards, read_records
from dentgen.curation.pairs.filter import Panel
from dentgen.curation.pairs.layouts import Layout
from dentgen.documents.document import Document
from dentgen.errors import ConditionError, SpecError, faults_of
from dentgen.records import PHOTO_MEMBER, TRAINED_ALGORITHMIC_MEDIA, ConditionRecord
from dentgen.relight.shading import ClayLighting
from dentgen.relight.shards import map_members, relit_key, relit_metadata
from dentgen.shards.tar import png_bytes

#: Folder of the shards, in that of the pairs.
PANELS_FOLDER: Final = "panels"
PARAMETERS: Final = "pairs.json"

Sample = tuple[str, dict[str, bytes]]


class PanelParameters(Document):
    """``pairs.json``: what decides the panels of a folder."""

    layout: Layout = Field(description="How panels lay on canvases.")
    lights: int = Field(ge=2, le=100, description="Panels per record.")
    seed: int = Field(description="Seed of lights and noise.")
    count: int | None = Field(description="Records, the first ones of the source; null: all.")
    spec: dict[str, Any] = Field(description="Sections of the build spec that decide a picture.")
    bundle_digest: str = Field(description="sha256 of the teacher's bundle.")


@dataclass(frozen=True, slots=True, eq=False)
class PanelSet:
    """The panels of one record.

    Attributes:
        record: Its key.
        shard: Name of the shard that they are in.
        keys: Their keys, in the order of the lights.
        panels: The panels.
    """

    record: str
    shard: str
    keys: tuple[str, ...]
    panels: tuple[Panel, ...]


def panel_samples(
    record: ConditionRecord, shard: str, panels: Sequence[Panel], lightings: Sequence[ClayLighting]
) -> list[Sample]:
    """Keys and members of a record's panels.

    Args:
        record: The record as it was read.
        shard: Name of its shard.
        panels: Its panels.
        lightings: Their lights.
    """
    samples = []
    for number, (panel, lighting) in enumerate(zip(panels, lightings, strict=True)):
        photo = png_bytes(panel.picture, TRAINED_ALGORITHMIC_MEDIA)
        members = {**map_members(panel.record), f"{PHOTO_MEMBER}.png": photo}
        members["json"] = relit_metadata(record, shard, lighting)
        samples.append((relit_key(record.key, number), members))
    return samples


def read_parameters(out: str) -> PanelParameters:
    """The parameters of a folder of panels.

    Raises:
        SpecError: If it has none, or they cannot be read.
    """
    place = storage.join(out, PARAMETERS)
    content = storage.read_if_exists(place)
    if content is None:
        raise SpecError(file=storage.without_secrets(place), found="no such file", expected="a folder of dentgen pairs")
    try:
        return PanelParameters.model_validate_json(content)
    except ValidationError as error:
        raise SpecError(faults_of(error), file=storage.without_secrets(place)) from error


def read_panel_sets(out: str, lights: int) -> Iterator[PanelSet]:
    """Panels record by record, in the order of the shards.

    Raises:
        ConditionError: If a shard is damaged or lacks panels of a record.
    """
    for shard in list_shards(storage.join(out, PANELS_FOLDER)):
        yield from _sets_of(shard, lights)


def panel_shards(out: str) -> list[ConditionShard]:
    """The shards of panels of a folder."""
    return list_shards(storage.join(out, PANELS_FOLDER))


def _sets_of(shard: ConditionShard, lights: int) -> Iterator[PanelSet]:
    pending: list[ConditionRecord] = []
    for raw in read_records(shard):
        pending.append(decode_record(raw, ("segmentation", "lighting"), with_photo=True))
        if len(pending) == lights:
            yield _set_of(shard, pending)
            pending = []
    if pending:
        raise ConditionError(shard.place, f"{len(pending)} panels of the last record", f"{lights}")


def _set_of(shard: ConditionShard, records: Sequence[ConditionRecord]) -> PanelSet:
    name = records[0].key.removesuffix(relit_key("", 0))
    keys = tuple(record.key for record in records)
    if keys != tuple(relit_key(name, number) for number in range(len(records))):
        raise ConditionError(shard.place, f"keys {list(keys)}", f"the panels of one record, from {relit_key(name, 0)}")
    panels = [Panel(record, record.photo) for record in records if record.photo is not None]
    if len(panels) < len(records):
        raise ConditionError(f"{shard.place}: {name}", "a panel without photo", "a photo in every panel")
    return PanelSet(name, shard.name, keys, tuple(panels))


def parameters_bytes(parameters: PanelParameters) -> dict[str, Any]:
    """The parameters as plain JSON values."""
    values: dict[str, Any] = json.loads(parameters.model_dump_json())
    return values
