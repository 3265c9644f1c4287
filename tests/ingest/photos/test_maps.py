"""Maps are drawn as annotated: order, holes, masks, sizes."""

from __future__ import annotations

import numpy as np
import pytest

from dentgen.errors import ConditionError
from dentgen.ingest.photos.annotations import AnnotatedPhoto, Thing
from dentgen.ingest.photos.maps import estimated_lighting, label_maps
from dentgen.ingest.photos.meaning import Meanings
from dentgen.ingest.photos.picture import Picture

SQUARE = [(2.0, 2.0), (9.0, 2.0), (9.0, 9.0), (2.0, 9.0)]
INNER = [(4.0, 4.0), (6.0, 4.0), (6.0, 6.0), (4.0, 6.0)]
MEANINGS = Meanings(
    labels={"t": "tooth 11", "g": "gingiva", "c": "cavity", "f": "gold crown", "no": "skip"}, rest="background"
)


def picture(width: int = 12, height: int = 12) -> Picture:
    return Picture(np.full((height, width, 3), 100, np.uint8), (width, height), 1)


def maps(*things: Thing, size: tuple[int, int] | None = (12, 12)) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    found = label_maps(AnnotatedPhoto("x", "x", size, things), picture(), MEANINGS)
    assert found.fdi is not None
    assert found.lesion is not None
    return found.seg, found.fdi, found.lesion


def test_findings_lie_over_teeth_whatever_the_order() -> None:
    for things in ((Thing("c", (INNER,)), Thing("t", (SQUARE,))), (Thing("t", (SQUARE,)), Thing("c", (INNER,)))):
        seg, fdi, lesion = maps(*things)
        assert (seg[4:7, 4:7] == 2).all()
        assert (fdi[4:7, 4:7] == 11).all()
        assert (lesion[4:7, 4:7] == 3).all()
        assert (lesion > 0).sum() == 9


def test_restorations_are_a_class_and_keep_the_tooth() -> None:
    seg, fdi, lesion = maps(Thing("t", (SQUARE,)), Thing("f", (INNER,)))
    assert (seg[4:7, 4:7] == 4).all()
    assert fdi[5, 5] == 11
    assert lesion[5, 5] == 9


def test_later_areas_hide_earlier_ones_and_their_numbers() -> None:
    seg, fdi, _ = maps(Thing("t", (SQUARE,)), Thing("g", (INNER,)))
    assert (seg[5, 5], fdi[5, 5], seg[3, 3], fdi[3, 3]) == (1, 0, 2, 11)


def test_holes_masks_and_skipped_labels() -> None:
    seg, _, _ = maps(Thing("t", (SQUARE,), (INNER,)))
    assert seg[5, 5] == 0
    mask = np.zeros((12, 12), bool)
    mask[0, :3] = True
    seg, _, _ = maps(Thing("t", mask=mask), Thing("no", (SQUARE,)))
    assert (seg == np.where(mask, 2, 0)).all()


def test_an_annotation_of_a_larger_copy_is_reduced() -> None:
    big = [(4 * x, 4 * y) for x, y in SQUARE]
    seg, _, _ = maps(Thing("t", (big,)), size=(48, 48))
    assert (seg[3:8, 3:8] == 2).all()
    assert (seg == 2).sum() <= 64


def test_another_shape_is_refused() -> None:
    with pytest.raises(ConditionError) as caught:
        maps(Thing("t", (SQUARE,)), size=(20, 12))
    assert caught.value.found == "an annotation of 20 x 12"


def test_lighting_is_luminance_relative_to_its_class() -> None:
    """Under one light a dark class and a bright one get the same map."""
    seg = np.repeat([1, 2], 32).astype(np.uint8)[None].repeat(64, 0)
    albedo = np.where(seg == 1, 60, 180)[..., None]
    light = np.linspace(0.6, 1.2, 64)[:, None, None]
    found = estimated_lighting(np.clip(albedo * light, 0, 255).astype(np.uint8).repeat(3, -1), seg).astype(float)
    np.testing.assert_allclose(found[:, 4:28].mean(1), found[:, 36:60].mean(1), atol=4)
    assert (np.diff(found[:, 10]) >= 0).mean() > 0.9


def test_a_smaller_annotation_of_a_turned_picture_is_turned_with_it() -> None:
    stored = np.zeros((30, 40, 3), np.uint8)
    turned = Picture(np.rot90(stored, -1).copy(), (40, 30), 6)
    corner = Thing("t", ([(0.0, 0.0), (6.0, 0.0), (6.0, 4.0), (0.0, 4.0)],))
    found = label_maps(AnnotatedPhoto("x", "x", (20, 15), (corner,)), turned, MEANINGS)
    rows, columns = np.nonzero(found.seg == 2)
    assert found.seg.shape == (40, 30)
    assert rows.max() < 16, "the stored picture's left upper corner is seen at the right, above"
    assert columns.min() > 18


def test_lesions_are_unknown_where_nothing_is_annotated() -> None:
    meanings = MEANINGS.model_copy(update={"rest": "ignore"})
    found = label_maps(AnnotatedPhoto("x", "x", (12, 12), (Thing("t", (SQUARE,)),)), picture(), meanings)
    assert found.lesion is not None
    assert ((found.lesion == 255) == (found.seg == 255)).all()
    assert (found.lesion == 0).sum() == 64
