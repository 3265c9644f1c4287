"""Where findings lie: ovals in teeth, bands along the gum, tissue near teeth."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from dentgen.conditions.labels import GINGIVA, RESTORATION, SEG_CLASSES, TOOTH
from dentgen.records import ConditionRecord
from dentgen.spec.findings import FindingSpec

Mask = NDArray[np.bool_]

#: Teeth of fewer pixels than this share of the picture are not asked for anything: 6 pixels at 128.
_VISIBLE: Final = 4e-4
#: Tissue within this many edges of a tooth is near it.
_NEAR: Final = 0.7
#: How far the middle of a spot may lie from that of its tooth, in standard deviations of the tooth's pixels.
_OFF_CENTRE: Final = 0.5


def visible_teeth(record: ConditionRecord) -> frozenset[int]:
    """FDI numbers of the teeth that are large enough to have a finding."""
    if record.fdi is None:
        return frozenset()
    numbers, pixels = np.unique(record.fdi, return_counts=True)
    return frozenset(
        int(n) for n, count in zip(numbers, pixels, strict=True) if n and count >= _VISIBLE * record.fdi.size
    )


def tooth_mask(record: ConditionRecord, tooth: int, finding: FindingSpec, rng: np.random.Generator) -> Mask:
    """The part (H, W) of a tooth that has the finding."""
    if record.fdi is None:
        return np.zeros(record.shape, bool)
    kinds = (TOOTH,) if finding.kind == "caries" else (TOOTH, RESTORATION)  # nothing of what covers the tooth
    whole = (record.fdi == tooth) & np.isin(record.conditions["segmentation"], kinds)
    return _part(whole, _other_side(record, TOOTH), finding, rng)


def tissue_mask(record: ConditionRecord, finding: FindingSpec, rng: np.random.Generator) -> Mask:
    """The part (H, W) of a tissue that has the finding."""
    value = next(value for value, name in SEG_CLASSES.items() if name == finding.where)
    tissue: Mask = record.conditions["segmentation"] == value
    if finding.near:
        tissue &= _near(record, finding.near)
    return _part(tissue, _other_side(record, value), finding, rng)


def _other_side(record: ConditionRecord, value: int) -> Mask:
    """Where a margin lies: at the gum for teeth, at the teeth for everything else."""
    seg = record.conditions["segmentation"]
    return seg == GINGIVA if value in (TOOTH, RESTORATION) else np.isin(seg, (TOOTH, RESTORATION))


def _near(record: ConditionRecord, teeth: tuple[int, ...]) -> Mask:
    if record.fdi is None or not np.isin(record.fdi, teeth).any():
        return np.zeros(record.shape, bool)
    named = np.isin(record.fdi, teeth)
    edge = np.sqrt(named.sum() / len(np.unique(record.fdi[named])))
    return np.asarray(distance_transform_edt(~named) <= _NEAR * edge)


def _part(whole: Mask, other_side: Mask, finding: FindingSpec, rng: np.random.Generator) -> Mask:
    """The share of a mask that a finding takes, by its pixels' distances from a middle or from the other side."""
    offset = rng.uniform(-_OFF_CENTRE, _OFF_CENTRE, 2)  # drawn in any case: later draws do not depend on the part
    if finding.usual_part == "whole" or not whole.any():
        return whole
    if finding.usual_part == "margin":
        if not other_side.any():
            return np.zeros_like(whole)
        distances = distance_transform_edt(~other_side)[whole]
    else:
        distances = _from_middle(np.argwhere(whole), offset)
    part = np.zeros_like(whole)
    part[whole] = distances <= np.quantile(distances, finding.share)
    return part


def _from_middle(pixels: NDArray[np.intp], offset: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distances of pixels (n, 2) from their mean, in standard deviations of each axis: an oval of the same shape."""
    spread = np.maximum(pixels.std(0), 0.5)
    away: NDArray[np.float64] = np.linalg.norm((pixels - pixels.mean(0)) / spread - offset, axis=1)
    return away
