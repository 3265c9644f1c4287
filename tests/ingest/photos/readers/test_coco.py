"""COCO's run lengths equal pycocotools' masks, and DENTEX's three categories are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from dentgen.ingest.photos.annotations import AnnotatedPhoto, Files, Refusal
from dentgen.ingest.photos.readers.coco import _lengths, read_coco

SIZE = (24, 32)


def read(folder: Path, content: dict[str, Any]) -> list[AnnotatedPhoto | Refusal]:
    Image.new("RGB", (SIZE[1], SIZE[0])).save(folder / "x.png")
    (folder / "c.json").write_text(json.dumps(content))
    return list(read_coco(str(folder), Files.under(str(folder))))


def document(*annotations: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "images": [{"id": 1, "file_name": "x.png", "width": SIZE[1], "height": SIZE[0]}],
        "annotations": [{"image_id": 1, "category_id": 7, **annotation} for annotation in annotations],
        "categories": [{"id": 7, "name": "tooth"}],
        **changes,
    }


def mask_of(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random(SIZE) < (0.02, 0.5, 0.98)[seed % 3]


@pytest.mark.parametrize("seed", range(9))
def test_run_lengths_are_pycocotools_masks(seed: int, tmp_path: Path) -> None:
    mask = mask_of(seed)
    runs = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *edges, flat.size]).tolist()
    counts = [0, *counts] if flat[0] else counts
    assert _lengths(runs["counts"].decode()) == counts
    compressed = {"size": list(SIZE), "counts": runs["counts"].decode()}
    (photo,) = read(
        tmp_path, document({"segmentation": compressed}, {"segmentation": {"size": list(SIZE), "counts": counts}})
    )
    assert isinstance(photo, AnnotatedPhoto)
    for thing in photo.things:
        assert thing.mask is not None
        assert (thing.mask == mask).all()


@pytest.mark.parametrize(
    "segmentation",
    [
        {"size": list(SIZE), "counts": [5, 5]}, {"size": [9, 9], "counts": [81]},
        {"size": list(SIZE), "counts": "\x01"},
        {"size": list(SIZE), "counts": [-1, 769]}, {"size": [10**9, 10**9], "counts": [10**18]}, [[1, 2, 3, 4]],
        [[0, 0, 1e300, 0, 1, 1]], {"size": list(SIZE)}, "x", 3, {"size": list(SIZE), "counts": "o" * 400},
    ],
)  # fmt: skip
def test_damaged_areas_refuse_their_photograph(segmentation: Any, tmp_path: Path) -> None:
    (found,) = read(tmp_path, document({"segmentation": segmentation}))
    assert isinstance(found, Refusal)
    assert found.name == "x.png"


def test_dentex_names_tooth_and_diagnosis(tmp_path: Path) -> None:
    ring = [[1, 1, 9, 1, 9, 9]]
    content = document()
    content["annotations"] = [
        {"image_id": 1, "category_id_1": 2, "category_id_2": 5, "category_id_3": 0, "segmentation": ring}
    ]
    content |= {
        "categories_1": [{"id": 2, "name": "3"}], "categories_2": [{"id": 5, "name": "6"}],
        "categories_3": [{"id": 0, "name": "Caries"}],
    }  # fmt: skip
    (photo,) = read(tmp_path, content)
    assert isinstance(photo, AnnotatedPhoto)
    assert [thing.label for thing in photo.things] == ["36", "Caries"]


def test_unknown_images_and_categories_are_said(tmp_path: Path) -> None:
    ring = [[1, 1, 9, 1, 9, 9]]
    content = document({"segmentation": ring, "category_id": 9})
    content["annotations"].append({"image_id": 5, "category_id": 7, "segmentation": ring})
    found = read(tmp_path, content)
    assert [type(one) for one in found] == [Refusal, Refusal]
    assert "[5]" in found[0].reason  # type: ignore[union-attr]
    assert "category 9" in found[1].reason  # type: ignore[union-attr]


def test_boxes_without_areas_are_counted_and_splits_are_read_from_names(tmp_path: Path) -> None:
    Image.new("RGB", (SIZE[1], SIZE[0])).save(tmp_path / "x.png")
    (tmp_path / "instances_val.json").write_text(json.dumps(document({"bbox": [0, 0, 4, 4]})))
    (photo,) = read_coco(str(tmp_path), Files.under(str(tmp_path)))
    assert isinstance(photo, AnnotatedPhoto)
    assert photo.skipped == {"annotation without a segmentation": 1}
    assert photo.split == "validation"


@pytest.mark.parametrize("listed", ["images", "categories"])
def test_ids_that_are_given_twice_refuse_the_file(listed: str, tmp_path: Path) -> None:
    content = document({"segmentation": [[1, 1, 9, 1, 9, 9]]})
    content[listed].append({**content[listed][0], "file_name": "y.png", "name": "gum"})
    (found,) = read(tmp_path, content)
    assert isinstance(found, Refusal)
    assert "share an id" in found.reason
