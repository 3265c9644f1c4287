"""What a judge sees of the findings that a document asks for: of its map, its restorations and its painted layers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dentgen.conditions.labels import IGNORE, RESTORATION, SEG_CLASSES, TOOTH
from dentgen.conditions.lesion_map import (
    CALCULUS,
    CARIES,
    CAVITY,
    INFLAMED_GUM,
    LESIONS,
    PLAQUE,
    RESTORATIONS,
)
from dentgen.quality.finding_judge import judge_finding
from dentgen.records import ConditionRecord
from dentgen.spec.findings import FindingKind

#: As what the judge looks for a value of the ``findings`` map; any other difference counts for all others.
_KINDS: Final[dict[int, FindingKind]] = {
    CARIES: "caries", CAVITY: "caries", PLAQUE: "plaque", CALCULUS: "plaque", INFLAMED_GUM: "inflammation",
    **dict.fromkeys(RESTORATIONS, "restoration"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class SeenFinding:
    """One of the document's findings in a picture.

    Attributes:
        name: The finding, or the layer.
        found: Whether it is there.
        inside: Share of its pixels that show it, 0..1.
        outside: Likewise of the same tissue elsewhere.
    """

    name: str
    found: bool
    inside: float
    outside: float


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """A finding, and where: (H, W)."""

    name: str
    kind: FindingKind
    where: NDArray[np.bool_]


def seen_findings(picture: NDArray[np.uint8], record: ConditionRecord) -> list[SeenFinding]:
    """Look for every finding of a document.

    Args:
        picture: (H, W, 3) uint8.
        record: The document, of the same size; without a segmentation nothing can be compared.

    Returns:
        Those that could be compared with the same tissue elsewhere, the map's before the layers.
    """
    seg = record.conditions.get("segmentation")
    if seg is None:
        return []
    asked = [*_mapped(record), *_layers(record)]
    anywhere = np.any([each.where for each in asked], axis=0) if asked else np.zeros(record.shape, bool)
    light = record.conditions.get("lighting")
    lighting = None if light is None else light.astype(np.uint8)
    seen = []
    for each in asked:
        tissue = (seg == _tissue(seg[each.where])) & ~anywhere
        score = judge_finding(picture, each.where, tissue, each.kind, lighting)
        if score is not None:
            seen.append(SeenFinding(each.name, score.found, round(score.inside, 3), round(score.outside, 3)))
    return seen


def _mapped(record: ConditionRecord) -> Iterator[_Asked]:
    """Findings of the maps: a restoration of the segmentation alone has no closer name."""
    seg = record.conditions["segmentation"]
    findings = record.conditions.get("findings", np.zeros_like(seg))
    values = [value for value in np.unique(findings).tolist() if value not in (0, IGNORE)]
    for value in values:
        yield _Asked(LESIONS[value], _KINDS.get(value, "other"), findings == value)
    unnamed = (seg == RESTORATION) & ~np.isin(findings, values)
    if unnamed.any():
        yield _Asked(SEG_CLASSES[RESTORATION], "restoration", unnamed)


def _layers(record: ConditionRecord) -> Iterator[_Asked]:
    for region in record.painted:
        if (region.mask >= 0.5).any():
            yield _Asked(region.name, "other", region.mask >= 0.5)


def _tissue(classes: NDArray[np.generic]) -> int:
    """The class that most of a finding's pixels have; a restoration is compared with teeth."""
    values, counts = np.unique(classes, return_counts=True)
    most = int(values[np.argmax(counts)])
    return TOOTH if most == RESTORATION else most
