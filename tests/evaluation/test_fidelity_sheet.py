"""The sheet shows the tiles of the chosen records, pixel by pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from dentgen.conditions.labels import colour_segmentation
from dentgen.evaluation.fidelity_sheet import best_median_worst, write_fidelity_sheet
from dentgen.evaluation.reference_set import ReferenceSet

EDGE, MARGIN = 8, 4


def test_best_median_and_worst() -> None:
    assert best_median_worst(np.array([0.2, 0.9, 0.5, 0.4, 0.7])) == (1, 2, 0)
    assert best_median_worst(np.array([0.5])) == (0, 0, 0)


def test_every_tile_is_where_it_belongs(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    keys = ["a", "b", "c"]
    light = rng.integers(0, 256, (3, EDGE, EDGE)).astype(np.uint8)
    seg = rng.integers(0, 3, (3, EDGE, EDGE)).astype(np.uint8)
    photos = rng.integers(0, 256, (3, EDGE, EDGE, 3)).astype(np.uint8)
    variants = rng.integers(0, 256, (3, 2, EDGE, EDGE, 3)).astype(np.uint8)
    reference = ReferenceSet("", keys, keys, keys, photos, seg, seg, light, seg)
    file = tmp_path / "sheet.png"
    assert write_fidelity_sheet(str(file), reference, variants, (2, 0)) == ["c", "a"]
    sheet = np.asarray(Image.open(file))
    step = EDGE + MARGIN
    assert sheet.shape == (2 * step, 5 * step, 3)
    for line, record in enumerate((2, 0)):
        tiles = [colour_segmentation(seg[record]), light[record][..., None], photos[record], *variants[record]]
        for column, tile in enumerate(tiles):
            shown = sheet[line * step : line * step + EDGE, column * step : column * step + EDGE]
            assert np.array_equal(shown, np.broadcast_to(tile, shown.shape)), (line, column)
