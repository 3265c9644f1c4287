"""Photographs with polygons as Supervisely writes them, made of coloured shapes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

#: Two touching teeth and a third one, (x, y) corners in a picture of 80 x 60.
TEETH = (
    [[10, 10], [29, 10], [29, 39], [10, 39]],
    [[30, 10], [49, 10], [49, 39], [30, 39]],
    [[60, 20], [74, 20], [74, 39], [60, 39]],
)
DECAY = [[14, 14], [19, 14], [19, 19], [14, 19]]


def polygon(title: str, corners: Sequence[Sequence[float]], holes: list[Any] | None = None) -> dict[str, Any]:
    return {"classTitle": title, "geometryType": "polygon", "points": {"exterior": corners, "interior": holes or []}}


def write_photo(folder: Path, name: str, objects: list[dict[str, Any]] | None = None, seed: int = 0) -> None:
    """White teeth on a red ground, the decay black, with noise."""
    (folder / "ann").mkdir(parents=True, exist_ok=True)
    (folder / "img").mkdir(parents=True, exist_ok=True)
    if objects is None:
        objects = [*(polygon("Tooth", corners) for corners in TEETH), polygon("Caries", DECAY)]
    picture = np.full((60, 80, 3), (150, 60, 50), np.int64)
    for corners in TEETH:
        (left, top), (right, bottom) = corners[0], corners[2]
        picture[top : bottom + 1, left : right + 1] = 230
    picture[14:20, 14:20] = 30
    picture += np.random.default_rng(seed).integers(-15, 16, picture.shape)
    Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).save(folder / "img" / f"{name}.png")
    (folder / "ann" / f"{name}.png.json").write_text(json.dumps({"description": "", "objects": objects}))
