"""COCO files, read with pycocotools, hold the label maps bit for bit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from dentgen.export.instances import Instance
from tests.export.hard_sets import SPLITS, exported, photo_of
from tests.export.test_instances import maps_of


def test_run_lengths_give_the_maps_back(tmp_path: Path) -> None:
    out, maps, outcome = exported(tmp_path, "coco")
    assert (outcome.written, outcome.rejected, outcome.mean_iou) == (5, (), 1.0)
    seen = []
    for split in dict.fromkeys(SPLITS):
        coco = COCO(str(out / "annotations" / f"instances_{split}.json"))
        for image in coco.loadImgs(coco.getImgIds()):
            annotations = coco.loadAnns(coco.getAnnIds(image["id"]))
            instances = [Instance(one["category_id"], coco.annToMask(one).astype(bool)) for one in annotations]
            found = maps_of(instances, (image["height"], image["width"]))
            for values, expected in zip(found, maps[image["key"]].values(), strict=True):
                assert (values == expected).all()
            picture = Image.open(out / "images" / split / image["file_name"])
            assert (np.asarray(picture) == photo_of(int(image["key"][-1]))).all()
            assert not picture.getexif()
            seen.append((image["key"], split))
    assert seen == sorted(seen, key=lambda item: list(dict.fromkeys(SPLITS)).index(item[1]))
    assert dict(seen) == {f"jaw-{number}": split for number, split in enumerate(SPLITS)}


def test_annotations_have_boxes_areas_and_the_tooth_that_they_are_on(tmp_path: Path) -> None:
    out, maps, _ = exported(tmp_path, "coco")
    coco = COCO(str(out / "annotations" / "instances_train.json"))
    categories = {category["id"]: category for category in coco.loadCats(coco.getCatIds())}
    for one in coco.loadAnns(coco.getAnnIds()):
        mask = coco.annToMask(one)
        left, top, width, height = one["bbox"]
        rows, columns = np.nonzero(mask)
        assert (left, top, width, height) == (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)
        assert one["area"] == mask.sum()
        assert one["iscrowd"] == (categories[one["category_id"]]["name"] in {"ignore", "not annotated"})
        tooth, key = one["attributes"]["tooth"], coco.loadImgs(one["image_id"])[0]["key"]
        if tooth:
            assert (maps[key]["fdi"][mask > 0] == tooth).all()
    (molar, *_) = coco.loadAnns(coco.getAnnIds(catIds=[18]))
    assert categories[18]["name"] == "tooth 18"
    assert set(molar["attributes"]["findings"]) <= {"caries", "cavity", "gold crown"}


def test_polygons_are_close_and_their_loss_is_said(tmp_path: Path) -> None:
    out, _, outcome = exported(tmp_path, "coco", masks="polygon")
    assert 0.9 < outcome.mean_iou < 1
    assert outcome.holes > 0
    content = json.loads((out / "annotations" / "instances_test.json").read_text())
    kinds = {type(one["segmentation"]) for one in content["annotations"] if not one["iscrowd"]}
    assert kinds == {list}
    assert {type(one["segmentation"]) for one in content["annotations"] if one["iscrowd"]} == {dict}


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_loader_can_evaluate_the_file_against_itself(split: str, tmp_path: Path) -> None:
    from pycocotools.cocoeval import COCOeval

    out, _, _ = exported(tmp_path, "coco")
    coco = COCO(str(out / "annotations" / f"instances_{split}.json"))
    results = [{**one, "score": 1.0} for one in coco.loadAnns(coco.getAnnIds(iscrowd=False))]
    evaluation = COCOeval(coco, coco.loadRes(results), "segm")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1.0)
