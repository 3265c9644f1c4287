"""Strips of pictures: which records are shown, and every pixel of theirs."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from dentgen.evaluation.picture_strips import shown_records, strip


def test_records_are_spread_evenly() -> None:
    assert shown_records(9) == [0, 3, 5, 8]
    assert shown_records(2) == [0, 1]


def test_a_strip_has_the_pictures_side_by_side() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 3)).astype(np.uint8)
    kind, _, content = strip(pictures).partition(",")
    assert kind == "data:image/png;base64"
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))
    assert np.array_equal(pixels, np.concatenate([pictures[0], pictures[1], pictures[2]], 1))
