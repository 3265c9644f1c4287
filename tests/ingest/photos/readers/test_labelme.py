"""LabelMe's polygons and circles are areas; points and boxes are counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dentgen.ingest.photos.annotations import AnnotatedPhoto, Files, Refusal
from dentgen.ingest.photos.readers.labelme import read_labelme


def read(folder: Path, *shapes: dict[str, Any], **changes: Any) -> AnnotatedPhoto | Refusal:
    Image.new("RGB", (40, 30)).save(folder / "x.png")
    content = {"shapes": shapes, "imagePath": "..\\pictures\\x.png", "imageWidth": 40, "imageHeight": 30, **changes}
    (folder / "x.json").write_text(json.dumps(content))
    (found,) = read_labelme(str(folder), Files.under(str(folder)))
    return found


def test_circles_become_outlines(tmp_path: Path) -> None:
    photo = read(tmp_path, {"label": "t", "points": [[20, 15], [25, 15]], "shape_type": "circle"})
    assert isinstance(photo, AnnotatedPhoto)
    ring = np.array(photo.things[0].rings[0])
    np.testing.assert_allclose(np.hypot(*(ring - [20, 15]).T), 5)
    assert photo.size == (40, 30)


def test_points_and_boxes_are_counted(tmp_path: Path) -> None:
    shapes = [{"label": "t", "points": [[1, 1], [4, 4]], "shape_type": kind} for kind in ("rectangle", "line")]
    photo = read(tmp_path, *shapes, {"label": "t", "points": [[1, 1], [2, 2]], "shape_type": "polygon"})
    assert isinstance(photo, AnnotatedPhoto)
    assert photo.skipped == {"rectangle": 1, "line": 1, "polygon": 1}


@pytest.mark.parametrize(
    "change", [{"imagePath": "../y.png"}, {"imageWidth": 0}, {"shapes": 3}, {"imageHeight": 10**7}]
)
def test_wrong_documents_are_refused(change: dict[str, Any], tmp_path: Path) -> None:
    found = read(tmp_path, **change)
    assert isinstance(found, Refusal)
    assert found.name == "x.json"
