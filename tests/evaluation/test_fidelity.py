"""Fidelity on ten small jaws with judges that hardly learn.

Figures of such a run mean nothing; that those which need no judge are right, that parts are cached, and that another
model gets other images does.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dentgen.conditions.labels import colour_segmentation
from dentgen.evaluation.fidelity import FidelitySettings, _balanced_accuracy, colour_fill, measure_fidelity
from dentgen.evaluation.generated_images import generated_images
from dentgen.evaluation.reference_set import ReferenceSet
from dentgen.quality.metrics import variant_spread
from tests.evaluation.small_evaluation import FEW, RECORDS, SIZE, build_names, small_build_spec


def test_the_colour_fill_is_palette_times_light() -> None:
    seg = np.array([[[0, 1, 2, 2]]], np.uint8)
    light = np.array([[[77, 100, 200, 255]]], np.uint8)
    palette = colour_segmentation(np.array([[0, 1, 2]], np.uint8))[0].astype(float)
    expected = [palette[0], palette[1] / 2, palette[2], np.minimum(palette[2] * 255 / 200, 255)]
    assert np.array_equal(colour_fill(seg, light)[0, 0], np.floor(expected))


def test_balanced_accuracy_does_not_depend_on_class_sizes() -> None:
    truth = np.array([0] * 6 + [1] * 2, np.uint8)
    predicted = np.array([0, 0, 0, 1, 1, 1, 1, 1], np.uint8)
    assert _balanced_accuracy(predicted, truth) == (3 / 6 + 2 / 2) / 2
    assert _balanced_accuracy(np.zeros_like(truth), truth) == 0.5


@pytest.mark.slow
def test_two_models_with_the_same_judges(work: Path, jaws: ReferenceSet) -> None:
    settings = FidelitySettings(str(work), small_build_spec(), RECORDS, word_records=2, judges=FEW)
    fidelity = measure_fidelity(settings)
    figures = fidelity.figures
    assert all(math.isfinite(v) for name, v in figures.items() if not name.startswith("reference_")), figures
    variants = generated_images(str(work), settings.spec, jaws, variants=4)
    assert figures["spread_variants"] == pytest.approx(np.mean([variant_spread(v) for v in variants]))
    assert figures["light_correlation_fill"] > 0.9, "the colour fill is its lighting"
    assert figures["miou_ratio_dilated"] == figures["miou_generated_dilated"] / figures["miou_reference_dilated"]
    assert {f"{n}_{k}{j}" for n in ("miou", "tooth_recall", "bleed_in", "bleed_out", "boundary_f1", "kernel_distance")
            for k in ("generated", "reference", "fill") for j in ("", "_dilated")} <= figures.keys()  # fmt: skip
    assert {"miou_shuffled", "miou_labels_shuffled", "detector_generated", "detector_reference"} <= figures.keys()
    assert Image.open(fidelity.sheet).size == (7 * (SIZE + 4), 3 * (SIZE + 4))
    assert len(set(fidelity.sheet_keys)) == 3

    assert {f"iou_{n}_{k}" for n in ("background", "gingiva", "tooth")
            for k in ("generated", "reference")} <= figures.keys()  # fmt: skip
    assert figures["class_miou_ratio"] == figures["class_miou_generated"] / figures["class_miou_reference"]

    judges, before = {path.name for path in (work / "judges").glob("[ud]*")}, build_names(work)
    again = measure_fidelity(settings)
    assert again.figures == pytest.approx(figures, nan_ok=True)
    assert build_names(work) == before, "nothing is built twice"
    other = measure_fidelity(FidelitySettings(str(work), small_build_spec("model.adapters={}"), RECORDS, 2, FEW))
    kinds = [path.name.split("-")[0] for path in (work / "judges").glob("*") if path.name not in judges]
    assert kinds == ["detector_generated"], "another model's detector is the only new judge"
    assert other.figures["miou_reference"] == figures["miou_reference"]
    assert other.figures["spread_variants"] != figures["spread_variants"]
    assert len(build_names(work) - before) == 9, "test set, judges' set and seven words"
