"""Values and colours of the ``findings`` condition: decay, damage, deposits and restorations of teeth, inflamed gum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dentgen.conditions.labels import IGNORE, Colour
from dentgen.records import ConditionName, ConditionRecord

WHITE_SPOT, CARIES, CAVITY, FRACTURE, CALCULUS = 1, 2, 3, 4, 5
AMALGAM, COMPOSITE, CERAMIC_CROWN, GOLD_CROWN, VENEER, CERAMIC_INLAY, GOLD_INLAY = 6, 7, 8, 9, 10, 11, 12
PLAQUE, INFLAMED_GUM = 13, 14
#: What replaces tooth: values that are a restoration in the segmentation.
RESTORATIONS: Final = frozenset(range(AMALGAM, GOLD_INLAY + 1))
LESIONS: Final[dict[int, str]] = {
    0: "none",
    WHITE_SPOT: "white spot",
    CARIES: "caries",
    CAVITY: "cavity",
    FRACTURE: "fracture",
    CALCULUS: "calculus",
    AMALGAM: "amalgam filling",
    COMPOSITE: "tooth-coloured filling",
    CERAMIC_CROWN: "ceramic crown",
    GOLD_CROWN: "gold crown",
    VENEER: "veneer",
    CERAMIC_INLAY: "ceramic inlay",
    GOLD_INLAY: "gold inlay",
    PLAQUE: "plaque",
    INFLAMED_GUM: "inflamed gum",
    IGNORE: "not annotated",
}
#: Colour of every lesion in a control image; all differ from those of segmentation classes.
LESION_COLOURS: Final[dict[int, Colour]] = {
    WHITE_SPOT: (246, 244, 236),
    CARIES: (132, 72, 24),
    CAVITY: (46, 22, 10),
    FRACTURE: (228, 150, 60),
    CALCULUS: (150, 132, 64),
    AMALGAM: (78, 96, 122),
    COMPOSITE: (216, 226, 240),
    CERAMIC_CROWN: (236, 226, 200),
    GOLD_CROWN: (222, 164, 30),
    VENEER: (252, 240, 255),
    CERAMIC_INLAY: (186, 214, 236),
    GOLD_INLAY: (240, 192, 84),
    PLAQUE: (206, 196, 96),
    INFLAMED_GUM: (214, 20, 40),
}
_PALETTE: Final[NDArray[np.uint8]] = np.zeros((256, 3), np.uint8)
for _value, _colour in LESION_COLOURS.items():
    _PALETTE[_value] = _colour


def with_findings_map(record: ConditionRecord, use: Sequence[ConditionName]) -> ConditionRecord:
    """The record with a findings map in which nothing is annotated, if ``use`` has findings and the record has none."""
    if "findings" not in use or "findings" in record.conditions or not record.conditions:
        return record
    unknown = np.full(record.shape, IGNORE, np.uint8)
    return replace(record, conditions={**record.conditions, "findings": unknown})


def paint_lesions(image: NDArray[np.uint8], lesion: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Paint lesions over an image (H, W, 3); where there is none or none is annotated (H, W), it stays as it is."""
    known = np.isin(lesion, list(LESION_COLOURS))
    return np.where(known[..., None], _PALETTE[lesion], image)
