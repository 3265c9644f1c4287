"""Small documents without models."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dentgen.records import ConditionRecord
from dentgen.studio.settings import Settings
from dentgen.studio.work import Work

SHAPE = (32, 48)
SETTINGS = Settings(adapters={"blended": 1.5})


def small_record() -> ConditionRecord:
    """Two teeth, 11 on the left and 21 on the right, in gum; nothing at the bottom."""
    seg, fdi = np.ones(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    seg[24:] = 0
    for number, columns in ((11, slice(8, 20)), (21, slice(28, 40))):
        seg[4:20, columns], fdi[4:20, columns] = 2, number
    light = np.where(seg > 0, 100, 0).astype(np.uint8)
    normal = np.zeros((*SHAPE, 3), np.uint8)
    normal[:24] = (128, 128, 255)
    return ConditionRecord(
        key="small", group="g", split="train", prompt="two teeth", fdi=fdi, photo=None, license="CC0-1.0",
        conditions={"segmentation": seg, "lighting": light, "normal": normal}, attributes={"view": "frontal"},
    )  # fmt: skip


def small_work(**changes: object) -> Work:
    """A document of the small record."""
    return Work(replace(small_record(), **changes), SETTINGS)  # type: ignore[arg-type]
