"""Resizing and rendering of conditions against independent arithmetic."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dentgen.conditions.labels import BACKGROUND_RGB, FDI_NUMBERS, GUM_RGB, TOOTH_RGB
from dentgen.conditions.lesion_map import CAVITY, GOLD_CROWN
from dentgen.conditions.prepare import Fit, condition_image, control_image, fit_map, fit_record
from dentgen.errors import ConditionError
from dentgen.records import ConditionName, ConditionRecord

BLEND_WITH_FINDINGS: tuple[ConditionName, ...] = ("segmentation", "lighting", "findings")
BLEND: tuple[ConditionName, ...] = ("segmentation", "lighting")


def made_record(height: int, width: int, seed: int = 0) -> ConditionRecord:
    rng = np.random.default_rng(seed)
    return ConditionRecord(
        "k", "k", "", "",
        {
            "segmentation": rng.integers(0, 3, (height, width)).astype(np.uint8),
            "lighting": rng.integers(0, 256, (height, width)).astype(np.uint8),
            "normal": rng.integers(0, 256, (height, width, 3)).astype(np.uint8),
            "curvature": rng.integers(0, 256, (height, width)).astype(np.uint8),
            "depth": rng.integers(0, 65536, (height, width)).astype(np.uint16),
            "findings": rng.choice(np.array([0, 3, 9, 255], np.uint8), (height, width)),
        },
        rng.choice(np.array(sorted(FDI_NUMBERS), np.uint8), (height, width)),
        rng.integers(0, 256, (height, width, 3)).astype(np.uint8), "", {},
    )  # fmt: skip


def test_blend_matches_the_formula() -> None:
    record = made_record(5, 7)
    image = control_image(record, BLEND, 0.3)
    palette = np.array([BACKGROUND_RGB, GUM_RGB, TOOTH_RGB], np.float64)
    expected = 0.3 * palette[record.conditions["segmentation"]] + 0.7 * record.conditions["lighting"][..., None]
    assert np.abs(image - expected).max() <= 0.5
    assert image.shape == (5, 7, 3)
    assert image.dtype == np.uint8


def test_findings_are_painted_over_classes_before_the_blend() -> None:
    record = made_record(6, 5)
    lesion = record.conditions["findings"]
    palette = np.array([BACKGROUND_RGB, GUM_RGB, TOOTH_RGB], np.float64)
    colours = palette[record.conditions["segmentation"]]
    colours[lesion == CAVITY], colours[lesion == GOLD_CROWN] = (46, 22, 10), (222, 164, 30)
    expected = 0.4 * colours + 0.6 * record.conditions["lighting"][..., None]
    for use in permutations(BLEND_WITH_FINDINGS):
        assert np.abs(control_image(record, use, 0.4) - expected).max() <= 0.5
    assert (condition_image(record, "findings") == colours).all()
    alone = replace(record, conditions={"findings": lesion})
    background = np.where(np.isin(lesion, (0, 255))[..., None], BACKGROUND_RGB, colours)
    assert (condition_image(alone, "findings") == background).all()


def test_blend_with_extreme_weights_is_one_condition() -> None:
    record = made_record(4, 4)
    for use in permutations(BLEND):
        assert (control_image(record, use, 1.0) == condition_image(record, "segmentation")).all()
        assert (control_image(record, use, 0.0) == condition_image(record, "lighting")).all()


def test_single_conditions_as_images() -> None:
    record = made_record(4, 6)
    palette = np.array([BACKGROUND_RGB, GUM_RGB, TOOTH_RGB], np.uint8)
    expected: dict[ConditionName, object] = {
        "segmentation": palette[record.conditions["segmentation"]].tolist(),
        "lighting": np.stack([record.conditions["lighting"]] * 3, -1).tolist(),
        "normal": record.conditions["normal"].tolist(),
        "curvature": np.stack([record.conditions["curvature"]] * 3, -1).tolist(),
        "depth": np.stack([record.conditions["depth"] // 256] * 3, -1).tolist(),
    }
    for name, levels in expected.items():
        image = condition_image(record, name)
        assert image.dtype == np.uint8
        assert image.tolist() == levels, name
        assert (control_image(record, (name,), 0.3) == image).all()


@pytest.mark.parametrize("use", [("segmentation", "depth"), ("segmentation", "lighting", "normal"), ()])
def test_undefined_combinations_are_rejected(use: tuple[ConditionName, ...]) -> None:
    with pytest.raises(ConditionError) as caught:
        control_image(made_record(4, 4), use, 0.3)
    assert caught.value.file == "k"
    assert str(list(use)) in caught.value.found


SIDE = st.integers(3, 40)
SHAPE = st.tuples(SIDE, SIDE)


@settings(max_examples=40, deadline=None)
@given(SHAPE, SHAPE, st.sampled_from(["pad", "crop", "stretch"]), st.integers(0, 9))
def test_labels_are_never_interpolated(source: tuple[int, int], shape: tuple[int, int], fit: Fit, seed: int) -> None:
    record = made_record(*source, seed)
    fitted = fit_record(record, shape, fit)
    assert fitted.shape == shape
    assert fitted.fdi is not None
    assert record.fdi is not None
    assert set(np.unique(fitted.fdi)) <= set(np.unique(record.fdi)) | {0}
    assert set(np.unique(fitted.conditions["segmentation"])) <= {0, 1, 2}
    assert set(np.unique(fitted.conditions["findings"])) <= {0, 3, 9, 255}
    for name, array in fitted.conditions.items():
        assert array.dtype == record.conditions[name].dtype
        assert array.shape == (*shape, *record.conditions[name].shape[2:])


def test_padding_keeps_the_whole_image_and_centres_it() -> None:
    record = made_record(8, 16)
    fitted = fit_record(record, (32, 32), "pad")
    seg = fitted.conditions["segmentation"]
    assert (seg[8:24] == np.kron(record.conditions["segmentation"], np.ones((2, 2), np.uint8))).all()
    empty = {name: np.unique(np.delete(array, range(8, 24), 0)) for name, array in fitted.conditions.items()}
    assert empty == {"segmentation": 0, "lighting": 0, "normal": 0, "curvature": 128, "depth": 0, "findings": 0}


def test_cropping_takes_the_centre() -> None:
    record = made_record(8, 14)
    fitted = fit_record(record, (8, 8), "crop")
    assert fitted.fdi is not None
    assert record.fdi is not None
    assert fitted.photo is not None
    assert record.photo is not None
    assert (fitted.fdi == record.fdi[:, 3:11]).all()
    assert (fitted.photo == record.photo[:, 3:11]).all()
    assert all((array == record.conditions[name][:, 3:11]).all() for name, array in fitted.conditions.items())


def test_stretching_repeats_labels() -> None:
    record = made_record(4, 8)
    seg = fit_record(record, (16, 16), "stretch").conditions["segmentation"]
    assert (seg == np.kron(record.conditions["segmentation"], np.ones((4, 2), np.uint8))).all()


@pytest.mark.parametrize("name", ["lighting", "curvature", "normal", "depth"])
def test_maps_are_averaged_by_area(name: ConditionName) -> None:
    record = made_record(8, 8)
    fitted = fit_record(record, (4, 4), "pad").conditions[name].astype(float)
    original = record.conditions[name].astype(float)
    mean = original.reshape(4, 2, 4, 2, -1).mean((1, 3)).reshape(fitted.shape)
    assert np.abs(fitted - mean).max() <= 1, "Pillow rounds once per axis"


@settings(max_examples=200, deadline=None)
@given(SHAPE, SHAPE)
def test_padding_keeps_the_aspect_ratio_within_a_pixel_and_fills_one_side(
    source: tuple[int, int], shape: tuple[int, int]
) -> None:
    fitted = fit_map(np.ones(source, np.uint8), shape, "pad", nearest=True, empty=9)
    rows, columns = (np.flatnonzero((fitted == 1).any(axis)) for axis in (1, 0))
    height, width = len(rows), len(columns)
    assert (fitted == 1).sum() == height * width, "a rectangle"
    assert height == shape[0] or width == shape[1]
    scale = min(shape[0] / source[0], shape[1] / source[1])
    assert abs(height - scale * source[0]) < 1
    assert abs(width - scale * source[1]) < 1
    for inside, outer in ((rows, shape[0]), (columns, shape[1])):
        assert abs(inside[0] - (outer - 1 - inside[-1])) <= 1, "in the middle"


@settings(max_examples=200, deadline=None)
@given(SHAPE, SHAPE)
def test_cropping_takes_the_largest_central_rectangle_of_the_shape(
    source: tuple[int, int], shape: tuple[int, int]
) -> None:
    """Every pixel is the source's at its own place on both axes, so nothing is turned or mirrored."""
    down, right = (np.broadcast_to(np.arange(n, dtype=np.uint8).reshape(form), source)
                   for n, form in ((source[0], (-1, 1)), (source[1], (1, -1))))  # fmt: skip
    rows, columns = (fit_map(np.array(each), shape, "crop", nearest=True, empty=0) for each in (down, right))
    assert (rows == rows[:, :1]).all()
    assert (columns == columns[:1]).all()
    scale = min(source[0] / shape[0], source[1] / shape[1])
    for found, outer, inner in ((rows[:, 0], source[0], scale * shape[0]), (columns[0], source[1], scale * shape[1])):
        places = outer / 2 + (np.arange(len(found)) + 0.5 - len(found) / 2) * inner / len(found) - 0.5
        assert (np.diff(found.astype(int)) >= 0).all()
        assert np.abs(found - places).max() <= 1.5


def test_wide_maps_are_cropped_and_padded_to_tall_shapes() -> None:
    values = np.arange(6 * 12, dtype=np.uint8).reshape(6, 12)
    assert (fit_map(values, (6, 4), "crop", nearest=True, empty=0) == values[:, 4:8]).all()
    assert (fit_map(values, (3, 12), "crop", nearest=True, empty=0) == values[1:4]).all()
    padded = fit_map(values, (10, 12), "pad", nearest=True, empty=99)
    assert (padded[2:8] == values).all()
    assert (np.delete(padded, range(2, 8), 0) == 99).all()
    assert (fit_map(values, (12, 24), "stretch", nearest=True, empty=0) == np.kron(values, np.ones((2, 2)))).all()


def test_fitting_record_of_the_right_size_changes_nothing() -> None:
    record = made_record(8, 8)
    fitted = fit_record(record, (8, 8), "pad")
    assert all(fitted.conditions[name] is array for name, array in record.conditions.items())
    assert (fitted.key, fitted.prompt, fitted.attributes) == (record.key, record.prompt, record.attributes)
