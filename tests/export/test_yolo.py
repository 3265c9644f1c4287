"""YOLO's lines, read as its loader reads them, are the teeth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from dentgen.conditions.labels import FDI_NUMBERS
from dentgen.export.outlines import filled, iou
from tests.export.hard_sets import HEIGHT, SPLITS, WIDTH, exported


def lines(out: Path, number: int) -> list[tuple[int, np.ndarray]]:
    text = (out / "labels" / SPLITS[number] / f"jaw-{number}.txt").read_text()
    words = [line.split() for line in text.splitlines()]
    return [(int(first), np.array(rest, float).reshape(-1, 2)) for first, *rest in words]


def test_outlines_are_the_teeth_and_their_loss_is_said(tmp_path: Path) -> None:
    out, maps, outcome = exported(tmp_path, "yolo-segment")
    names = yaml.safe_load((out / "data.yaml").read_text())["names"]
    ious = []
    for number in range(5):
        fdi = maps[f"jaw-{number}"]["fdi"]
        found = {int(names[first].removeprefix("tooth ")): points for first, points in lines(out, number)}
        assert found.keys() == set(np.unique(fdi)) - {0}
        ious += [iou(filled(points * [WIDTH, HEIGHT], fdi.shape), fdi == tooth) for tooth, points in found.items()]
    assert outcome.mean_iou == pytest.approx(np.mean(ious), abs=1e-3)
    assert outcome.worst_iou == pytest.approx(min(ious), abs=1e-3)
    assert outcome.mean_iou > 0.9
    assert outcome.holes >= 5
    assert outcome.split >= 5
    assert outcome.ignored == sum((each["seg"] == 255).sum() for each in maps.values())


def test_boxes_enclose_their_teeth(tmp_path: Path) -> None:
    out, maps, outcome = exported(tmp_path, "yolo-detect", teeth="one")
    assert yaml.safe_load((out / "data.yaml").read_text())["names"] == {0: "tooth"}
    assert outcome.mean_iou == 1
    for number in range(5):
        fdi = maps[f"jaw-{number}"]["fdi"]
        boxes = sorted(map(tuple, (values.ravel() for _, values in lines(out, number))))
        expected = []
        for tooth in set(np.unique(fdi)) - {0}:
            rows, columns = np.nonzero(fdi == tooth)
            left, right, top, bottom = columns.min(), columns.max() + 1, rows.min(), rows.max() + 1
            expected.append(
                (
                    (left + right) / 2 / WIDTH,
                    (top + bottom) / 2 / HEIGHT,
                    (right - left) / WIDTH,
                    (bottom - top) / HEIGHT,
                )
            )
        np.testing.assert_allclose(boxes, sorted(expected), atol=1e-5)
        assert {first for first, _ in lines(out, number)} == {0}


def test_data_yaml_names_places_and_every_number(tmp_path: Path) -> None:
    out, _, _ = exported(tmp_path, "yolo-segment")
    data = yaml.safe_load((out / "data.yaml").read_text())
    assert (data["train"], data["val"], data["test"]) == ("images/train", "images/validation", "images/test")
    assert list(data["names"].values()) == [f"tooth {number}" for number in sorted(FDI_NUMBERS)]
    assert all((out / data[name]).is_dir() for name in ("train", "val", "test"))
