"""Label Studio's last annotation that was not cancelled counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

from dentgen.ingest.photos.annotations import AnnotatedPhoto, Files, Refusal
from dentgen.ingest.photos.readers.label_studio import read_label_studio


def polygon(label: str) -> dict[str, Any]:
    value = {"points": [[0, 0], [50, 0], [50, 100]], "polygonlabels": [label]}
    return {"type": "polygonlabels", "original_width": 40, "original_height": 20, "value": value}


def read(folder: Path, *works: dict[str, Any], image: str = "s3://bucket/x%20y.png") -> AnnotatedPhoto | Refusal:
    Image.new("RGB", (40, 20)).save(folder / "x y.png")
    (folder / "e.json").write_text(json.dumps([{"data": {"img": image}, "annotations": works}]))
    (found,) = read_label_studio(str(folder), Files.under(str(folder)))
    return found


def test_percent_become_pixels_of_the_last_annotation(tmp_path: Path) -> None:
    works: list[dict[str, Any]] = [{"result": [polygon("old")]}, {"result": [polygon("new"), {"type": "choices"}]},
                                   {"result": [polygon("cancelled")], "was_cancelled": True}]  # fmt: skip
    photo = read(tmp_path, *works)
    assert isinstance(photo, AnnotatedPhoto)
    (thing,) = photo.things
    assert (thing.label, thing.rings) == ("new", ([(0.0, 0.0), (20.0, 0.0), (20.0, 20.0)],))
    assert (photo.size, photo.skipped, photo.name) == ((40, 20), {"choices": 1}, "x y")


def test_tasks_without_work_or_picture(tmp_path: Path) -> None:
    nobody = read(tmp_path)
    assert isinstance(nobody, Refusal)
    assert "no annotation" in nobody.reason
    photo = read(tmp_path, {"result": []})
    assert isinstance(photo, AnnotatedPhoto)
    assert photo.things == ()
    turned = read(tmp_path, {"result": [{**polygon("x"), "image_rotation": 90}]})
    assert isinstance(turned, Refusal)
    found = read(tmp_path, {"result": []}, image="z.png")
    assert isinstance(found, Refusal)
    assert found.name == "e.json: task 0"
