"""Findings of a document in a picture: each by its name and kind, against the same tissue where nothing is asked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dentgen.conditions.labels import RESTORATION
from dentgen.conditions.lesion_map import CARIES, CAVITY, GOLD_CROWN, INFLAMED_GUM
from dentgen.records import ConditionRecord, PaintedRegion
from dentgen.studio.seen_findings import SeenFinding, seen_findings
from tests.studio.documents import SHAPE, small_record

TOOTH, GUM, GOLD, DECAY, RED = (205, 196, 170), (190, 110, 105), (190, 140, 40), (120, 80, 50), (190, 50, 55)


def box(rows: slice, columns: slice) -> NDArray[np.bool_]:
    inside = np.zeros(SHAPE, bool)
    inside[rows, columns] = True
    return inside


CROWN, LESION, SORE = (
    box(slice(4, 20), slice(8, 14)),
    box(slice(6, 12), slice(30, 36)),
    box(slice(20, 24), slice(8, 20)),
)


def picture(record: ConditionRecord, *painted: tuple[NDArray[np.bool_], tuple[int, int, int]]) -> NDArray[np.uint8]:
    image = np.zeros((*SHAPE, 3), np.uint8)
    seg = record.conditions["segmentation"]
    image[seg == 1] = GUM
    image[seg >= 2] = TOOTH
    for where, colour in painted:
        image[where] = colour
    return image


def with_maps(seg: NDArray[np.bool_], findings: dict[int, NDArray[np.bool_]] | None) -> ConditionRecord:
    record = small_record()
    maps = {name: array.copy() for name, array in record.conditions.items()}
    maps["segmentation"][seg] = RESTORATION
    if findings is not None:
        maps["findings"] = np.zeros(SHAPE, np.uint8)
        for value, where in findings.items():
            maps["findings"][where] = value
    return replace(record, conditions=maps)


def test_every_finding_of_the_map_is_looked_for_as_what_it_is() -> None:
    record = with_maps(CROWN, {GOLD_CROWN: CROWN, CARIES: LESION, INFLAMED_GUM: SORE})
    shown = picture(record, (CROWN, GOLD), (LESION, DECAY), (SORE, RED))
    assert seen_findings(shown, record) == [
        SeenFinding("caries", True, 1.0, 0.0),
        SeenFinding("gold crown", True, 1.0, 0.0),
        SeenFinding("inflamed gum", True, 1.0, 0.0),
    ]
    assert {one.name: one.found for one in seen_findings(picture(record, (CROWN, GOLD)), record)} == {
        "caries": False, "gold crown": True, "inflamed gum": False,
    }  # fmt: skip


def test_a_restoration_without_a_findings_map_and_layers_are_looked_for_too() -> None:
    layer = PaintedRegion("braces", "metal braces", LESION.astype(np.float32))
    nothing = PaintedRegion("empty", "nothing", np.zeros(SHAPE, np.float32))
    record = replace(with_maps(CROWN, None), painted=(layer, nothing))
    seen = seen_findings(picture(record, (CROWN, GOLD)), record)
    assert [(one.name, one.found) for one in seen] == [("restoration", True), ("braces", False)]
    assert seen_findings(picture(record, (CROWN, GOLD), (LESION, (90, 95, 100))), record)[1].found


def test_other_findings_do_not_spoil_the_tissue_that_one_is_compared_with() -> None:
    """Half of a tooth is a cavity: decay elsewhere would look usual if it counted as enamel."""
    record = with_maps(np.zeros(SHAPE, bool), {CAVITY: CROWN, CARIES: LESION})
    seen = seen_findings(picture(record, (CROWN, (60, 30, 10)), (LESION, DECAY)), record)
    assert [(one.name, one.outside) for one in seen] == [("caries", 0.0), ("cavity", 0.0)]


def test_without_labels_there_is_nothing_to_compare() -> None:
    record = small_record()
    bare = replace(record, conditions={"lighting": record.conditions["lighting"]})
    assert seen_findings(picture(record), bare) == []
