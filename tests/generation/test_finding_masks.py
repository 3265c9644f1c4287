"""Where findings lie: exact shares, inside their tooth or tissue, at the side that they belong to."""

from __future__ import annotations

import numpy as np
import pytest

from dentgen.conditions.labels import GINGIVA, TOOTH
from dentgen.generation.finding_masks import tissue_mask, tooth_mask, visible_teeth
from dentgen.seeding import numpy_generator
from tests.generation.finding_records import finding, record


def test_teeth_of_a_pixel_are_not_seen() -> None:
    assert visible_teeth(record()) == {11, 21}


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("part", ["spot", "margin"])
def test_parts_have_their_share_of_the_tooth(part: str, share: float) -> None:
    jaw = record()
    assert jaw.fdi is not None
    mask = tooth_mask(jaw, 11, finding(teeth=[11], part=part, share=share), numpy_generator(1))
    assert not (mask & (jaw.fdi != 11)).any()
    assert mask.sum() == pytest.approx(share * 320, rel=0.15)
    rows = np.nonzero(mask)[0]
    if part == "margin":
        assert rows.min() == 24, "it begins at the gum"
        assert rows.max() - 23 == pytest.approx(20 * share, abs=1.1)


def test_spots_lie_where_their_draw_says() -> None:
    masks = [tooth_mask(record(), 11, finding(teeth=[11], share=0.2), numpy_generator(n)) for n in range(20)]
    centres = np.array([np.argwhere(mask).mean(0) for mask in masks])
    assert centres.std(0).min() > 0.5
    again = tooth_mask(record(), 11, finding(teeth=[11], share=0.2), numpy_generator(3))
    assert (again == masks[3]).all()


def test_a_whole_tooth_and_a_whole_tissue() -> None:
    jaw = record()
    assert jaw.fdi is not None
    assert (tooth_mask(jaw, 21, finding(teeth=[21], part="whole"), numpy_generator(1)) == (jaw.fdi == 21)).all()
    gum = tissue_mask(jaw, finding(kind="inflammation", where="gingiva", part="whole"), numpy_generator(1))
    assert (gum == (jaw.conditions["segmentation"] == GINGIVA)).all()


def test_gum_near_a_tooth_is_beside_it() -> None:
    """Edges of teeth are about 18 pixels, so the gum up to 12 pixels from tooth 11 is near it."""
    near = tissue_mask(
        record(), finding(kind="inflammation", where="gingiva", near=[11], part="whole"), numpy_generator(1)
    )
    columns = np.nonzero(near.any(0))[0]
    assert (columns.min(), columns.max()) == (4, 39)
    assert not tissue_mask(record(), finding(kind="inflammation", where="gingiva", near=[47]), numpy_generator(1)).any()


def test_the_margin_of_the_gum_is_at_the_teeth() -> None:
    jaw = record()
    mask = tissue_mask(jaw, finding(kind="inflammation", where="gingiva", part="margin", share=0.2), numpy_generator(1))
    assert (jaw.conditions["segmentation"][mask] == GINGIVA).all()
    rows = np.nonzero(mask)[0]
    assert rows.max() == 23
    assert rows.mean() > np.nonzero(jaw.conditions["segmentation"] == GINGIVA)[0].mean() + 3


def test_without_another_side_there_is_no_margin() -> None:
    jaw = record()
    jaw.conditions["segmentation"][jaw.conditions["segmentation"] == GINGIVA] = TOOTH
    assert not tooth_mask(jaw, 11, finding(teeth=[11], part="margin"), numpy_generator(1)).any()
