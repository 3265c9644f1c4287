"""Class maps of YOLO's semantic layout are the classes as they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from dentgen.conditions.labels import SEG_CLASSES
from tests.export.hard_sets import SPLITS, exported


def test_masks_are_the_class_maps(tmp_path: Path) -> None:
    out, maps, outcome = exported(tmp_path, "yolo-semantic")
    for number, split in enumerate(SPLITS):
        mask = Image.open(out / "masks" / split / f"jaw-{number}.png")
        assert mask.mode == "L"
        assert (np.asarray(mask) == maps[f"jaw-{number}"]["seg"]).all()
    data = yaml.safe_load((out / "data.yaml").read_text())
    assert data["masks_dir"] == "masks"
    assert data["names"] == {value: name for value, name in SEG_CLASSES.items() if value != 255}
    assert (outcome.ignored, outcome.mean_iou) == (0, 1.0)
