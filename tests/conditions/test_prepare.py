"""Fitting and blending, against independent arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dentgen.conditions.labels import BACKGROUND_RGB, FDI_NUMBERS, GUM_RGB, TOOTH_RGB, mirror_fdi, mirror_normal
from dentgen.conditions.prepare import Fit, control_image, fit_record
from dentgen.records import ConditionName, ConditionRecord


def record(height: int, width: int, seed: int = 0) -> ConditionRecord:
    rng = np.random.default_rng(seed)
    return ConditionRecord(
        "k", "k", "", "",
        {
            "segmentation": rng.integers(0, 3, (height, width)).astype(np.uint8),
            "lighting": rng.integers(0, 256, (height, width)).astype(np.uint8),
            "depth": rng.integers(0, 65536, (height, width)).astype(np.uint16),
        },
        rng.choice(np.array(sorted(FDI_NUMBERS), np.uint8), (height, width)), None, "", {},
    )  # fmt: skip


def test_blend_is_the_formula() -> None:
    made = record(5, 7)
    found = control_image(made, ("segmentation", "lighting"), 0.3)
    palette = np.array([BACKGROUND_RGB, GUM_RGB, TOOTH_RGB], np.float64)
    expected = 0.3 * palette[made.conditions["segmentation"]] + 0.7 * made.conditions["lighting"][..., None]
    assert np.abs(found - expected).max() <= 0.5
    assert found.shape == (5, 7, 3)


def test_blend_at_the_ends_is_one_condition() -> None:
    made = record(4, 4)
    use: tuple[ConditionName, ...] = ("segmentation", "lighting")
    assert (control_image(made, use, 1.0) == control_image(made, ("segmentation",), 0.3)).all()
    assert (control_image(made, use, 0.0) == control_image(made, ("lighting",), 0.3)).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(3, 40), st.integers(3, 40), st.sampled_from(["pad", "crop", "stretch"]), st.integers(0, 9))
def test_labels_never_gain_a_value(height: int, width: int, fit: Fit, seed: int) -> None:
    made = record(height, width, seed)
    fitted = fit_record(made, 16, fit)
    assert fitted.shape == (16, 16)
    assert fitted.fdi is not None
    assert made.fdi is not None
    assert set(np.unique(fitted.fdi)) <= set(np.unique(made.fdi)) | {0}
    assert set(np.unique(fitted.conditions["segmentation"])) <= {0, 1, 2}


def test_padding_keeps_everything_and_centres_it() -> None:
    made = record(8, 16)
    fitted = fit_record(made, 32, "pad")
    seg = fitted.conditions["segmentation"]
    assert (seg[8:24] == np.repeat(np.repeat(made.conditions["segmentation"], 2, 0), 2, 1)).all()
    assert not seg[:8].any()
    assert not seg[24:].any()


def test_light_is_averaged_by_area() -> None:
    made = record(8, 8)
    fitted = fit_record(made, 4, "pad").conditions["lighting"].astype(float)
    mean = made.conditions["lighting"].reshape(4, 2, 4, 2).mean((1, 3))
    assert np.abs(fitted - mean).max() <= 1  # Pillow rounds once per axis


def test_depth_keeps_sixteen_bits() -> None:
    made = record(8, 8)
    fitted = fit_record(made, 4, "pad").conditions["depth"]
    mean = made.conditions["depth"].astype(float).reshape(4, 2, 4, 2).mean((1, 3))
    assert fitted.dtype == np.uint16
    assert np.abs(fitted - mean).max() <= 1


def test_a_mirror_swaps_quadrants_and_is_its_own_inverse() -> None:
    fdi = np.array([[11, 21, 0], [38, 75, 48]], np.uint8)
    assert mirror_fdi(fdi).tolist() == [[0, 11, 21], [38, 85, 48]]
    assert (mirror_fdi(mirror_fdi(fdi)) == fdi).all()
    normal = np.array([[[200, 10, 30], [0, 0, 0]]], np.uint8)
    assert mirror_normal(normal).tolist() == [[[0, 0, 0], [55, 10, 30]]]


def test_unknown_combinations_are_refused() -> None:
    with pytest.raises(Exception, match="to blend"):
        control_image(record(4, 4), ("segmentation", "depth"), 0.3)
