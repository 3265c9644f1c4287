"""Figures of a candidate's pictures on real maps: reference pictures are right, blur and equal variants show."""

from __future__ import annotations

from math import isnan
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from dentgen.evaluation.judges import judge_labels
from dentgen.evaluation.tables.figures import candidate_figures, goals
from dentgen.models.judges import load_judges
from dentgen.quality.metrics import set_miou
from tests.evaluation.small_evaluation import demo_reference


def test_figures_of_reference_and_blurred_pictures(tmp_path: Path, demo_members: dict[str, dict[str, bytes]]) -> None:
    judges, test = load_judges("embedded").networks, demo_reference(tmp_path, demo_members, 10)
    real = candidate_figures(judges, test, test.photos[:, None])
    assert list(real) == list(goals(judges))
    assert real["detail"] == pytest.approx(1)
    assert isnan(real["diversity"])
    assert real["miou_dilated"] == pytest.approx(set_miou(judge_labels(judges["dilated"], test.photos), test.seg))
    assert min(real["miou"], real["boundary_f1"], real["tooth_recall"]) > 0.85
    blurred = ndimage.gaussian_filter(test.photos, (0, 3, 3, 0))
    soft = candidate_figures(judges, test, np.stack([blurred, blurred], 1))
    assert soft["detail"] < 0.1
    assert soft["diversity"] == 0
    assert soft["boundary_f1"] < real["boundary_f1"]
    other = candidate_figures(judges, test, np.stack([blurred, np.zeros_like(blurred)], 1))
    assert other["diversity"] == pytest.approx(blurred.mean() / 2, rel=1e-3), "the deviation of x and 0 is x / 2"
    assert other["kernel_distance"] == soft["kernel_distance"] > real["kernel_distance"], "that of the first variants"
