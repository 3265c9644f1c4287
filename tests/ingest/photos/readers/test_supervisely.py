"""Supervisely's bitmaps lie where their origin says."""

from __future__ import annotations

import base64
import io
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dentgen.ingest.photos.annotations import AnnotatedPhoto, Files, Refusal
from dentgen.ingest.photos.readers.supervisely import read_supervisely
from tests.ingest.photos.annotated_sets import bitmap


def read(folder: Path, *objects: dict[str, Any], size: tuple[int, int] = (20, 12)) -> AnnotatedPhoto | Refusal:
    for name in ("ann", "img"):
        (folder / name).mkdir(exist_ok=True)
    Image.new("RGB", size).save(folder / "img" / "x.png")
    content = {"size": {"width": size[0], "height": size[1]}, "objects": objects}
    (folder / "ann" / "x.png.json").write_text(json.dumps(content))
    (found,) = read_supervisely(str(folder), Files.under(str(folder)))
    return found


def test_a_bitmap_is_placed_at_its_origin(tmp_path: Path) -> None:
    mask = np.random.default_rng(0).random((5, 7)) < 0.5
    data = {"data": bitmap(mask), "origin": [3, 2]}
    photo = read(tmp_path, {"classTitle": "t", "geometryType": "bitmap", "bitmap": data})
    assert isinstance(photo, AnnotatedPhoto)
    expected = np.zeros((12, 20), bool)
    expected[2:7, 3:10] = mask
    assert photo.things[0].mask is not None
    assert (photo.things[0].mask == expected).all()


@pytest.mark.parametrize(
    "data",
    [
        {"data": bitmap(np.ones((5, 7), bool)), "origin": [15, 2]}, {"data": "!!", "origin": [0, 0]},
        {"data": bitmap(np.ones((5, 7), bool)), "origin": [-1, 0]}, {"data": "eJwDAAAAAAE=", "origin": [0, 0]},
        {}, None,
    ],
)  # fmt: skip
def test_damaged_bitmaps_refuse_their_photograph(data: Any, tmp_path: Path) -> None:
    found = read(tmp_path, {"classTitle": "t", "geometryType": "bitmap", "bitmap": data})
    assert isinstance(found, Refusal)
    assert found.name == "ann/x.png.json"


def test_a_palette_without_transparency_holds_indices(tmp_path: Path) -> None:
    image, buffer = Image.new("P", (4, 3)), io.BytesIO()
    image.putpixel((1, 1), 1)
    image.putpalette([0, 0, 0, 255, 255, 255])
    image.save(buffer, "PNG")
    data = {"data": base64.b64encode(zlib.compress(buffer.getvalue())).decode(), "origin": [0, 0]}
    photo = read(tmp_path, {"classTitle": "t", "geometryType": "bitmap", "bitmap": data})
    assert isinstance(photo, AnnotatedPhoto)
    assert photo.things[0].mask is not None
    assert np.argwhere(photo.things[0].mask).tolist() == [[1, 1]]


def test_other_geometries_are_counted(tmp_path: Path) -> None:
    photo = read(tmp_path, {"classTitle": "t", "geometryType": "point"}, {"classTitle": "t", "geometryType": "line"})
    assert isinstance(photo, AnnotatedPhoto)
    assert (photo.things, photo.skipped) == ((), {"point": 1, "line": 1})
