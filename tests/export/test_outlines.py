"""Outlines come back as the masks that they were, as far as one polygon can hold them."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from dentgen.export.outlines import edge_polygons, filled, iou, outline_of


def blob(seed: int) -> np.ndarray:
    """A round mask with an uneven border."""
    row, column = np.mgrid[0:48, 0:48] - 24
    angle = np.arctan2(row, column)
    rng = np.random.default_rng(seed)
    radius = 12 + sum(rng.normal(0, 1.2) * np.cos(k * angle + rng.uniform(0, 6)) for k in range(2, 7))
    return np.asarray(np.hypot(row, column) < radius)


@pytest.mark.parametrize("seed", range(5))
def test_a_mask_in_one_part_is_exact(seed: int) -> None:
    outline = outline_of(blob(seed))
    assert (outline.parts, outline.holes, outline.iou) == (1, 0, 1.0)
    # what Ultralytics does: shares of the edge, back to pixels, truncated
    again = filled(np.round(outline.polygon / 48, 6) * 48, (48, 48))
    assert iou(again, blob(seed)) == 1.0


def test_holes_and_parts_are_counted_and_measured() -> None:
    mask = np.zeros((30, 30), bool)
    mask[2:12, 2:12], mask[4:6, 4:6], mask[20:28, 20:28] = True, False, True
    outline = outline_of(mask)
    assert (outline.parts, outline.holes) == (2, 1)
    back = filled(outline.polygon, mask.shape)
    assert back[mask].all()
    assert outline.iou == pytest.approx(mask.sum() / back.sum())
    assert 0.85 < outline.iou < 1


@pytest.mark.parametrize("pixels", [[(5, 5)], [(5, 5), (5, 6)]])
def test_the_smallest_masks_have_three_points_and_survive(pixels: list[tuple[int, int]]) -> None:
    mask = np.zeros((9, 9), bool)
    for pixel in pixels:
        mask[pixel] = True
    outline = outline_of(mask)
    assert len(outline.polygon) >= 3
    assert (filled(outline.polygon, mask.shape) == mask).all()


@pytest.mark.parametrize("seed", range(5))
def test_edge_polygons_come_back_from_pycocotools(seed: int) -> None:
    mask = blob(seed)
    polygons, holes = edge_polygons(mask)
    back = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(polygons, 48, 48))).astype(bool)
    assert holes == 0
    assert iou(mask, back) > 0.99


def test_two_empty_masks_are_equal() -> None:
    assert iou(np.zeros((2, 2), bool), np.zeros((2, 2), bool)) == 1.0
