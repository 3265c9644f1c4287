"""The sheet of ways shows the tiles of records spread over the set, pixel by pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from dentgen.conditions.labels import colour_segmentation
from dentgen.evaluation.reference_set import ReferenceSet
from dentgen.evaluation.ways_sheet import write_ways_sheet

EDGE, STEP = 8, 12


def test_every_way_has_a_column_and_records_are_spread_over_the_set(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    keys = ["a", "b", "c", "d", "e"]
    light, seg = (rng.integers(0, top, (5, EDGE, EDGE)).astype(np.uint8) for top in (256, 3))
    photos, one, other = (rng.integers(0, 256, (5, EDGE, EDGE, 3)).astype(np.uint8) for _ in range(3))
    reference = ReferenceSet("", keys, keys, keys, photos, seg, seg, light, seg)
    file = tmp_path / "sheet.png"
    write_ways_sheet(str(file), reference, {"one": one, "other": other}, 3)
    sheet = np.asarray(Image.open(file))
    assert sheet.shape == (3 * STEP, 5 * STEP, 3)
    for line, record in enumerate((0, 2, 4)):
        light_tile = np.repeat(light[record][..., None], 3, -1)
        tiles = [colour_segmentation(seg[record]), light_tile, photos[record], one[record], other[record]]
        for column, tile in enumerate(tiles):
            shown = sheet[line * STEP : line * STEP + EDGE, column * STEP : column * STEP + EDGE]
            assert np.array_equal(shown, tile), (line, column)
    write_ways_sheet(str(file), reference, {"one": one}, 9)
    assert Image.open(file).size == (4 * STEP, 5 * STEP)
