"""Contestants that generate different images are not compared."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dentgen.benchmark.engine.pictures import compare_pictures
from dentgen.errors import EngineError

PICTURES = {key: np.full((8, 8, 3), level, np.uint8) for key, level in (("a", 10), ("b", 200))}


def test_differences_are_reported() -> None:
    one_off = {key: picture + np.uint8(1) for key, picture in PICTURES.items()}
    two_off = {key: picture + np.uint8(2) for key, picture in PICTURES.items()}
    assert compare_pictures(PICTURES, one_off, torch.float32) == {"largest": 1, "mean": 1, "mean_to_neighbour": 190}
    assert compare_pictures(PICTURES, two_off, torch.float16)["mean"] == 2
    assert compare_pictures(PICTURES, PICTURES, torch.float32)["largest"] == 0


def test_different_images_are_rejected() -> None:
    """In half precision twins may differ by a tenth of the distance to another image, here 19 levels."""
    for offset, dtype in ((2, torch.float32), (20, torch.float16)):
        theirs = {key: picture + np.uint8(offset) for key, picture in PICTURES.items()}
        with pytest.raises(EngineError) as caught:
            compare_pictures(PICTURES, theirs, dtype)
        assert f"largest difference {offset}," in caught.value.found
    nearer = {key: picture + np.uint8(18) for key, picture in PICTURES.items()}
    assert compare_pictures(PICTURES, nearer, torch.float16)["mean"] == 18
