"""A small record with known teeth and gum, for tests of findings."""

from __future__ import annotations

from typing import Any

import numpy as np

from dentgen.conditions.labels import GINGIVA, TOOTH
from dentgen.records import ConditionName, ConditionRecord, MapArray
from dentgen.spec.findings import FindingSpec

EDGE = 64


def record(key: str = "jaw", *, lesion: bool = False, **attributes: str) -> ConditionRecord:
    """Teeth 11 and 21 side by side below a band of gum, each 20 by 16 pixels; tooth 36 has only one pixel."""
    seg, fdi = np.zeros((EDGE, EDGE), np.uint8), np.zeros((EDGE, EDGE), np.uint8)
    seg[8:24, 4:60] = GINGIVA
    fdi[24:44, 12:28], fdi[24:44, 32:48], fdi[60, 60] = 11, 21, 36
    seg[fdi > 0] = TOOTH
    light = np.tile(np.linspace(60, 250, EDGE).astype(np.uint8), (EDGE, 1))
    maps: dict[ConditionName, MapArray] = {"segmentation": seg, "lighting": light}
    if lesion:
        maps["findings"] = np.zeros_like(seg)
    return ConditionRecord(
        key=key, group="g", split="", prompt="a photo", conditions=maps, fdi=fdi, photo=None, license="",
        attributes=attributes,
    )  # fmt: skip


def finding(**values: Any) -> FindingSpec:
    return FindingSpec.model_validate({"kind": "restoration", "prompt": "gold crown", **values})
