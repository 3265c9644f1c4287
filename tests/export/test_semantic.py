"""nnU-Net's, MONAI's and VOC's layouts hold the class maps by their own rules."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dentgen.conditions.labels import SEG_CLASSES
from dentgen.export.run import Export, export
from dentgen.export.semantic import group_folds
from dentgen.shards.tar import png_bytes
from tests.conftest import write_tar
from tests.export.hard_sets import SPLITS, exported, photo_of


def test_nnunet_has_consecutive_labels_with_ignore_last(tmp_path: Path) -> None:
    out, maps, _ = exported(tmp_path, "nnunet")
    dataset = json.loads((out / "dataset.json").read_text())
    labels = dataset["labels"]
    assert list(labels.values()) == list(range(len(labels)))
    assert labels["background"] == 0
    assert labels["ignore"] == max(labels.values())
    assert (dataset["numTraining"], dataset["file_ending"], len(dataset["channel_names"])) == (4, ".png", 3)
    for number, split in enumerate(SPLITS):
        part = "Ts" if split == "test" else "Tr"
        found = np.asarray(Image.open(out / f"labels{part}" / f"jaw-{number}.png"))
        expected = maps[f"jaw-{number}"]["seg"]
        for value, name in SEG_CLASSES.items():
            assert ((found == labels[name]) == (expected == value)).all()
        picture = np.asarray(Image.open(out / f"images{part}" / f"jaw-{number}_0000.png"))
        assert (picture == photo_of(number)).all()
    given, *drawn = json.loads((out / "splits_final.json").read_text())
    assert given == {"train": ["jaw-0", "jaw-1", "jaw-4"], "val": ["jaw-2"]}
    assert drawn, "two patients beside the given split"
    for fold in drawn:
        assert fold["train"]
        assert fold["val"]
        assert sorted(fold["train"] + fold["val"]) == ["jaw-0", "jaw-1", "jaw-2", "jaw-4"]
        assert ("jaw-0" in fold["val"]) == ("jaw-1" in fold["val"]), "one patient"


def fold_names(tmp_path: Path, splits: dict[str, str]) -> list[dict[str, list[str]]]:
    """Folds of nnU-Net for patients with these splits; none if there is no such file."""
    records = {
        patient: {
            "seg.png": png_bytes(np.ones((8, 8), np.uint8)), "photo.png": png_bytes(np.ones((8, 8, 3), np.uint8)),
            "json": json.dumps({"group": patient, "split": split}).encode(),
        }
        for patient, split in splits.items()
    }  # fmt: skip
    write_tar(tmp_path / "set" / "a.tar", records)
    export(Export(str(tmp_path / "set"), str(tmp_path / "out"), "nnunet"), workers=1)
    file = tmp_path / "out" / "splits_final.json"
    folds: list[dict[str, list[str]]] = json.loads(file.read_text()) if file.exists() else []
    return folds


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_given_split_of_one_side_is_no_fold_and_patients_take_turns(split: str, tmp_path: Path) -> None:
    folds = fold_names(tmp_path, {"p1": split, "p2": split, "p3": split})
    assert sorted(fold["val"] for fold in folds) == [["p1"], ["p2"], ["p3"]]
    assert all(sorted(fold["train"] + fold["val"]) == ["p1", "p2", "p3"] for fold in folds)


def test_a_single_patient_cannot_be_divided(tmp_path: Path) -> None:
    assert fold_names(tmp_path, {"p1": "train"}) == []


def test_folds_follow_from_names_unless_one_would_be_empty() -> None:
    many = {f"patient-{number}" for number in range(200)}
    folds = group_folds(many)
    assert set(folds.values()) == set(range(5))
    assert {group: group_folds(many | {"another"})[group] for group in many} == folds, "a growing set keeps them"
    few = group_folds({"a", "b", "c"})
    assert sorted(few.values()) == [0, 1, 2]


def test_monai_lists_every_file_and_folds_never_divide_a_group(tmp_path: Path) -> None:
    out, maps, _ = exported(tmp_path, "monai")
    lists = json.loads((out / "dataset.json").read_text())
    assert [len(lists[name]) for name in ("training", "validation", "test")] == [3, 1, 1]
    for item in (*lists["training"], *lists["validation"], *lists["test"]):
        key = Path(item["image"]).stem
        assert (np.asarray(Image.open(out / item["label"])) == maps[key]["seg"]).all()
        assert (np.asarray(Image.open(out / item["teeth"])) == maps[key]["fdi"]).all()
        assert (np.asarray(Image.open(out / item["lesion"])) == maps[key]["lesion"]).all()
        assert (out / item["image"]).is_file()
    folds = {item["image"]: item["fold"] for item in lists["training"]}
    assert folds["images/jaw-0.png"] == folds["images/jaw-1.png"], "one patient"
    assert set(folds.values()) <= set(range(5))


def test_voc_has_palette_images_of_classes_and_teeth(tmp_path: Path) -> None:
    out, maps, _ = exported(tmp_path, "voc")
    listed = {
        name: (out / "ImageSets" / "Segmentation" / f"{name}.txt").read_text().split()
        for name in ("train", "val", "test")
    }
    assert listed == {"train": ["jaw-0", "jaw-1", "jaw-4"], "val": ["jaw-2"], "test": ["jaw-3"]}
    for key, each in maps.items():
        for folder, name in (("SegmentationClass", "seg"), ("SegmentationObject", "fdi")):
            image = Image.open(out / folder / f"{key}.png")
            assert image.mode == "P"
            assert (np.asarray(image) == each[name]).all()
            colours = np.asarray(image.convert("RGB")).reshape(-1, 3)
            assert len(np.unique(colours, axis=0)) >= len(np.unique(each["fdi"]))
        picture = Image.open(out / "JPEGImages" / f"{key}.jpg")
        assert (picture.format, picture.size) == ("JPEG", (56, 40))


def test_an_empty_list_is_left_out_of_monai_s_file(tmp_path: Path) -> None:
    members = {"seg.png": png_bytes(np.ones((8, 8), np.uint8)), "photo.png": png_bytes(np.ones((8, 8, 3), np.uint8))}
    write_tar(tmp_path / "set" / "a.tar", {"x": members})
    export(Export(str(tmp_path / "set"), str(tmp_path / "out"), "monai"), workers=1)
    lists = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert "test" not in lists
    assert [item["image"] for item in lists["training"]] == ["images/x.png"]
