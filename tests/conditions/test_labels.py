"""Mirrors and palettes: what must be undone exactly is, and what was damaged is refused."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from dentgen.conditions.labels import (
    FDI_NUMBERS,
    GUM_RGB,
    TOOTH_RGB,
    colour_segmentation,
    has_surface,
    labels_from_palette,
    mirror_normal,
    mirror_prompt,
    mirror_record,
)
from dentgen.conditions.prepare import fit_record
from dentgen.errors import ConditionError, SpecError
from dentgen.records import ConditionName, ConditionRecord, MapArray


def made_record(height: int, width: int, seed: int = 0, view: str = "left") -> ConditionRecord:
    rng = np.random.default_rng(seed)
    normal = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
    normal[rng.random((height, width)) < 0.3] = 0
    conditions: dict[ConditionName, MapArray] = {
        "segmentation": rng.integers(0, 3, (height, width)).astype(np.uint8),
        "lighting": rng.integers(0, 256, (height, width)).astype(np.uint8),
        "normal": normal,
        "curvature": rng.integers(0, 256, (height, width)).astype(np.uint8),
        "depth": rng.integers(0, 65536, (height, width)).astype(np.uint16),
    }
    fdi = rng.choice(np.array([0, *sorted(FDI_NUMBERS)], np.uint8), (height, width))
    photo = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
    prompt = f"a photo of both teeth, {view} view, intraoral dental photography"
    return ConditionRecord(
        "k", "g", "train", prompt, conditions, fdi, photo, "", {"view": view, "shade": "ivory"}, ("w",)
    )


def arrays(record: ConditionRecord) -> dict[str, MapArray]:
    assert record.fdi is not None
    assert record.photo is not None
    return {**{str(name): array for name, array in record.conditions.items()}, "fdi": record.fdi, "photo": record.photo}


def assert_same(found: ConditionRecord, expected: ConditionRecord) -> None:
    for name, array in arrays(found).items():
        assert array.dtype == arrays(expected)[name].dtype, name
        assert (array == arrays(expected)[name]).all(), name
    texts = ("key", "group", "split", "prompt", "license", "attributes", "warnings")
    assert [getattr(found, name) for name in texts] == [getattr(expected, name) for name in texts]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32), st.sampled_from(["left", "right", "frontal"]))
def test_a_record_mirrored_twice_is_itself(height: int, width: int, seed: int, view: str) -> None:
    record = made_record(height, width, seed, view)
    kept = made_record(height, width, seed, view)
    assert_same(mirror_record(mirror_record(record)), record)
    assert_same(record, kept)


def test_a_mirror_flips_every_map_and_swaps_the_sides() -> None:
    record = made_record(4, 6)
    mirrored = mirror_record(record)
    for name, array in arrays(mirrored).items():
        assert array.flags.c_contiguous, "torch takes no array that runs backwards"
        flipped = arrays(record)[name][:, ::-1]
        if name not in {"normal", "fdi"}:
            assert (array == flipped).all(), name
    normal = record.conditions["normal"][:, ::-1].astype(int)
    expected = np.where(normal.any(-1, keepdims=True), abs(normal - [255, 0, 0]), 0)
    assert (mirrored.conditions["normal"] == expected).all()
    assert mirrored.prompt == "a photo of both teeth, right view, intraoral dental photography"
    assert mirrored.attributes == {"view": "right", "shade": "ivory"}
    assert mirror_record(made_record(4, 6, view="frontal")).attributes["view"] == "frontal"


def test_quadrants_change_places_and_positions_stay() -> None:
    record = made_record(9, 9)
    assert record.fdi is not None
    mirrored = mirror_record(record).fdi
    assert mirrored is not None
    before, after = record.fdi[:, ::-1].astype(int), mirrored.astype(int)
    assert (before % 10 == after % 10).all()
    pairs = set(zip((before // 10).ravel().tolist(), (after // 10).ravel().tolist(), strict=True))
    assert pairs == {(0, 0), (1, 2), (2, 1), (3, 4), (4, 3), (5, 6), (6, 5), (7, 8), (8, 7)}


def test_a_mirrored_normal_is_the_exact_negative_in_x() -> None:
    """Every byte: decoded, x changes sign to the last bit; a vector that is no normal is left alone, not lost."""
    x = np.arange(256, dtype=np.uint8)
    normal = np.stack([x, np.full(256, 128, np.uint8), np.full(256, 200, np.uint8)], -1)[None]
    decoded = (mirror_normal(normal).astype(float) - 127.5) / 127.5
    assert (decoded[0, ::-1, 0] == -((x - 127.5) / 127.5)).all()
    no_normal = np.array([[[255, 0, 0], [0, 0, 0], [0, 0, 1]]], np.uint8)
    assert mirror_normal(no_normal).tolist() == [[[255, 0, 1], [0, 0, 0], [255, 0, 0]]]
    assert has_surface(no_normal).tolist() == [[False, False, True]]


def test_only_views_change_sides_in_prompts() -> None:
    assert mirror_prompt("left view, right view") == "right view, left view"
    assert mirror_prompt("left upper molar, light from the right, upright view") == (
        "left upper molar, light from the right, upright view"
    )


def test_mirroring_and_halving_commute_on_blocks() -> None:
    """Nearest takes one pixel of four, the same one in the mirror: only where the four agree is the result the same."""
    small = made_record(8, 8)
    conditions = {name: array.repeat(2, 0).repeat(2, 1) for name, array in small.conditions.items()}
    assert small.fdi is not None
    large = ConditionRecord("k", "g", "", "", conditions, small.fdi.repeat(2, 0).repeat(2, 1), None, "", {})
    one, other = fit_record(mirror_record(large), 8, "pad"), mirror_record(fit_record(large, 8, "pad"))
    assert one.fdi is not None
    assert (one.fdi == other.fdi).all()
    for name, array in one.conditions.items():
        assert (array == other.conditions[name]).all(), name


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32))
def test_mirroring_and_taking_every_third_label_commute(seed: int) -> None:
    """Three has a middle, so nearest takes the same pixel from both sides, on any map."""
    record = made_record(24, 24, seed)
    one, other = fit_record(mirror_record(record), 8, "pad"), mirror_record(fit_record(record, 8, "pad"))
    assert one.fdi is not None
    assert (one.fdi == other.fdi).all()
    assert (one.conditions["segmentation"] == other.conditions["segmentation"]).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 2**32))
def test_colours_are_read_back(height: int, width: int, seed: int) -> None:
    seg = np.random.default_rng(seed).integers(0, 3, (height, width)).astype(np.uint8)
    found = labels_from_palette(colour_segmentation(seg))
    assert found.dtype == np.uint8
    assert (found == seg).all()


def coloured() -> NDArray[np.uint8]:
    seg = np.zeros((40, 60), np.uint8)
    seg[8:32, 10:50] = 1
    seg[12:24, 20:40] = 2
    return colour_segmentation(seg)


def test_a_colour_of_no_class_is_named_with_its_count_and_its_neighbour() -> None:
    image = coloured()
    image[0, :3], image[1, 0] = (203, 71, 47), (0, 0, 0)
    with pytest.raises(ConditionError) as refused:
        labels_from_palette(image)
    assert "4 pixels of 2 colours" in refused.value.found
    assert "(203, 71, 47) (3 pixels)" in refused.value.found
    assert str(GUM_RGB) in refused.value.expected


def test_a_label_image_that_was_a_jpeg_is_refused() -> None:
    buffer = io.BytesIO()
    Image.fromarray(coloured()).save(buffer, format="JPEG", quality=95, subsampling=0)
    with pytest.raises(ConditionError, match="colours that no class has"):
        labels_from_palette(np.asarray(Image.open(buffer)))


def test_a_label_image_that_was_interpolated_is_refused() -> None:
    image = Image.fromarray(coloured())
    with pytest.raises(ConditionError, match="resized by nearest only"):
        labels_from_palette(np.asarray(image.resize((90, 60), Image.Resampling.BILINEAR)))
    nearest = labels_from_palette(np.asarray(image.resize((90, 60), Image.Resampling.NEAREST)))
    assert set(np.unique(nearest)) == {0, 1, 2}


def test_palettes_of_others() -> None:
    image = np.array([[[255, 0, 0], [0, 0, 255]]], np.uint8)
    assert labels_from_palette(image, {11: (255, 0, 0), 48: (0, 0, 255)}).tolist() == [[11, 48]]
    with pytest.raises(SpecError, match="a colour for each"):
        labels_from_palette(image, {0: TOOTH_RGB, 4: TOOTH_RGB})
    with pytest.raises(ConditionError, match="uint8 RGB"):
        labels_from_palette(np.zeros((2, 2, 4), np.uint8))
