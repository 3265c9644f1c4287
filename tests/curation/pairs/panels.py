"""Panels with a known truth: photographs of phantoms under other lights, and what can be wrong with them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from dentgen.conditions.decode import decode_record
from dentgen.conditions.prepare import fit_record
from dentgen.conditions.readers.source import list_shards, read_records
from dentgen.curation.pairs.filter import Panel
from dentgen.quality.srgb import to_linear
from dentgen.records import ConditionRecord
from tests.conftest import JAWS

EDGE = 128


@cache
def phantoms() -> tuple[ConditionRecord, ...]:
    """The records of ``JAWS`` with photographs, at the judges' size."""
    raws = (raw for shard in list_shards(str(JAWS)) for raw in read_records(shard))
    records = (decode_record(raw, ("segmentation", "lighting", "normal"), with_photo=True) for raw in raws)
    return tuple(fit_record(record, (EDGE, EDGE), "pad") for record in records)


def gain(x: float, y: float) -> NDArray[np.float64]:
    """A light (H, W, 1) that falls off to one side, by factors of 1 + x and 1 + y."""
    across, down = np.meshgrid(np.linspace(-1, 1, EDGE), np.linspace(-1, 1, EDGE))
    return np.asarray((1 + x * across + y * down)[..., None])


def relit(picture: NDArray[np.uint8], light: NDArray[np.float64]) -> NDArray[np.uint8]:
    """The picture in another light: linear values times its gain."""
    linear = np.clip(to_linear(picture.astype(np.float64) / 255) * light, 0, 1)
    return np.round(255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)).astype(
        np.uint8
    )


def panel(record: ConditionRecord, picture: NDArray[np.uint8], light: NDArray[np.float64]) -> Panel:
    """A panel whose lighting map is the record's in that light."""
    level = np.clip(record.conditions["lighting"] * light[..., 0], 0, 255).astype(np.uint8)
    return Panel(replace(record, conditions={**record.conditions, "lighting": level}, photo=None), picture)


LIGHTS = (gain(0, 0), gain(0.4, 0), gain(-0.3, 0.3))


def good_panels(number: int = 0) -> list[Panel]:
    """Three lights on one mouth."""
    record = phantoms()[number]
    assert record.photo is not None
    return [panel(record, relit(record.photo, light), light) for light in LIGHTS]
