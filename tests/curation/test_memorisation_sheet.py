"""The sheet shows every pair in a row, the generated picture on the left."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from dentgen.curation.memorisation import Neighbours
from dentgen.curation.memorisation_sheet import write_pair_sheet
from dentgen.shards.tar import png_bytes
from tests.conftest import write_tar
from tests.report.fake_builds import fake_build, noise, written


def test_pairs_lie_side_by_side(tmp_path: Path) -> None:
    fake_build(tmp_path / "out", [written(0), written(1)])
    photos = {key: noise(key, (32, 32)) for key in "ab"}
    seg = png_bytes(np.ones((32, 32), np.uint8))
    write_tar(tmp_path / "t" / "x.tar", {k: {"seg.png": seg, "photo.png": png_bytes(p)} for k, p in photos.items()})
    pairs = [
        Neighbours("jaw-001-v000", "b", 0.1),
        Neighbours("jaw-000-v001", "a", 0.2),
        Neighbours("jaw-001-v000", "a", 1),
    ]
    write_pair_sheet(tmp_path / "sheet.png", pairs, str(tmp_path / "out"), str(tmp_path / "t"))
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape == (3 * 20 + 4, 2 * 20 + 4, 3)
    for row, pair in enumerate(pairs):
        top = 4 + 20 * row
        np.testing.assert_array_equal(sheet[top : top + 16, 4:20], noise(pair.generated, (16, 16)))
        reduced = photos[pair.training].reshape(16, 2, 16, 2, 3).mean((1, 3))
        assert np.abs(sheet[top : top + 16, 24:40] - reduced).max() <= 1
    assert (sheet[:4] == 255).all()


def test_without_pairs_the_sheet_is_white(tmp_path: Path) -> None:
    fake_build(tmp_path / "out", [written(0)])
    write_pair_sheet(tmp_path / "sheet.png", [], str(tmp_path / "out"), str(tmp_path / "out"))
    assert (np.asarray(Image.open(tmp_path / "sheet.png")) == 255).all()
