"""Figures of a candidate's pictures on real maps: reference pictures are right, blur and equal variants show."""

from __future__ import annotations

from dataclasses import replace
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


@pytest.mark.integration
def test_figures_of_reference_and_blurred_pictures(tmp_path: Path, demo_members: dict[str, dict[str, bytes]]) -> None:
    judges, test = load_judges("embedded"), demo_reference(tmp_path, demo_members, 10)
    real = candidate_figures(judges, test, test.photos[:, None])
    assert list(real) == list(goals(judges.networks))
    assert real["detail"] == pytest.approx(1)
    assert isnan(real["diversity"])
    assert real["miou_dilated"] == pytest.approx(
        set_miou(judge_labels(judges.networks["dilated"], test.photos), test.seg)
    )
    assert min(real["miou"], real["boundary_f1"], real["tooth_recall"]) > 0.85
    blurred = ndimage.gaussian_filter(test.photos, (0, 3, 3, 0))
    soft = candidate_figures(judges, test, np.stack([blurred, blurred], 1))
    assert soft["detail"] < 0.1
    assert soft["diversity"] == 0
    assert soft["boundary_f1"] < real["boundary_f1"]
    other = candidate_figures(judges, test, np.stack([blurred, np.zeros_like(blurred)], 1))
    assert other["diversity"] == pytest.approx(blurred.mean() / 2, rel=1e-3), "the deviation of x and 0 is x / 2"
    assert other["kernel_distance"] == soft["kernel_distance"] > real["kernel_distance"], "that of the first variants"


@pytest.mark.slow
def test_judges_see_pictures_at_the_size_that_they_learnt(
    tmp_path: Path, demo_members: dict[str, dict[str, bytes]]
) -> None:
    judges, test = load_judges("embedded"), demo_reference(tmp_path, demo_members, 10)
    assert judges.size == test.photos.shape[1]
    native = candidate_figures(judges, test, test.photos[:, None])
    enlarged = {name: getattr(test, name).repeat(2, 1).repeat(2, 2) for name in ("photos", "seg", "fdi", "light")}
    double = replace(test, **enlarged)
    found = candidate_figures(judges, double, double.photos[:, None])
    of_judges = [name for name in native if name not in {"light_correlation", "detail", "diversity"}]
    assert {name: found[name] for name in of_judges} == pytest.approx(
        {name: native[name] for name in of_judges}, abs=0.02
    )
    sharp, smooth = double.photos[:, None], ndimage.gaussian_filter(double.photos, (0, 0.7, 0.7, 0))[:, None]
    assert candidate_figures(judges, double, sharp)["detail"] == pytest.approx(1)
    assert candidate_figures(judges, double, smooth)["detail"] < 0.9, "detail is of the pictures as they are"
