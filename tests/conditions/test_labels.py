"""Mirroring is its own inverse, palettes are read back exactly, and damaged label images are rejected."""

from __future__ import annotations

import io
from dataclasses import replace

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
    mirror_fdi,
    mirror_normal,
    mirror_prompt,
    mirror_record,
    tissue_classes,
)
from dentgen.conditions.prepare import fit_record
from dentgen.errors import ConditionError, SpecError
from dentgen.records import ConditionName, ConditionRecord, MapArray, PaintedRegion


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
def test_mirroring_twice_gives_the_same_record(height: int, width: int, seed: int, view: str) -> None:
    record = made_record(height, width, seed, view)
    untouched = made_record(height, width, seed, view)
    assert_same(mirror_record(mirror_record(record)), record)
    assert_same(record, untouched)


def test_mirroring_flips_every_map_and_swaps_the_views() -> None:
    record = made_record(4, 6)
    mirrored = mirror_record(record)
    for name, array in arrays(mirrored).items():
        assert array.flags.c_contiguous, "torch accepts no negative strides"
        flipped = arrays(record)[name][:, ::-1]
        if name not in {"normal", "fdi"}:
            assert (array == flipped).all(), name
    normal = record.conditions["normal"][:, ::-1].astype(int)
    expected = np.where(normal.any(-1, keepdims=True), abs(normal - [255, 0, 0]), 0)
    assert (mirrored.conditions["normal"] == expected).all()
    assert mirrored.prompt == "a photo of both teeth, right view, intraoral dental photography"
    assert mirrored.attributes == {"view": "right", "shade": "ivory"}
    assert mirror_record(made_record(4, 6, view="frontal")).attributes["view"] == "frontal"


def test_painted_regions_are_mirrored_with_their_prompts() -> None:
    record = made_record(4, 6)
    mask = np.zeros((4, 6), np.float32)
    mask[1, :2] = 1
    region = PaintedRegion("gum", "left view, red gums", mask, negative_prompt="right view", strength=0.5)
    (mirrored,) = mirror_record(replace(record, painted=(region,))).painted
    assert (mirrored.prompt, mirrored.negative_prompt) == ("right view, red gums", "left view")
    assert (mirrored.name, mirrored.strength) == ("gum", 0.5)
    assert np.array_equal(mirrored.mask, mask[:, ::-1])
    assert mirrored.mask.flags.c_contiguous


def test_mirrored_fdi_numbers_by_hand() -> None:
    fdi = np.array([[11, 21, 0], [38, 75, 48]], np.uint8)
    assert mirror_fdi(fdi).tolist() == [[0, 11, 21], [38, 85, 48]]


def test_mirroring_swaps_quadrants_and_keeps_positions() -> None:
    record = made_record(9, 9)
    assert record.fdi is not None
    mirrored = mirror_record(record).fdi
    assert mirrored is not None
    before, after = record.fdi[:, ::-1].astype(int), mirrored.astype(int)
    assert (before % 10 == after % 10).all()
    pairs = set(zip((before // 10).ravel().tolist(), (after // 10).ravel().tolist(), strict=True))
    assert pairs == {(0, 0), (1, 2), (2, 1), (3, 4), (4, 3), (5, 6), (6, 5), (7, 8), (8, 7)}


def test_mirrored_normal_is_the_exact_negative_in_x() -> None:
    """For every byte; a pixel without a surface is kept as it is."""
    x = np.arange(256, dtype=np.uint8)
    normal = np.stack([x, np.full(256, 128, np.uint8), np.full(256, 200, np.uint8)], -1)[None]
    decoded = (mirror_normal(normal).astype(float) - 127.5) / 127.5
    assert (decoded[0, ::-1, 0] == -((x - 127.5) / 127.5)).all()
    invalid = np.array([[[255, 0, 0], [0, 0, 0], [0, 0, 1]]], np.uint8)
    assert mirror_normal(invalid).tolist() == [[[255, 0, 1], [0, 0, 0], [255, 0, 0]]]
    assert has_surface(invalid).tolist() == [[False, False, True]]


def test_only_views_are_swapped_in_prompts() -> None:
    assert mirror_prompt("left view, right view") == "right view, left view"
    assert mirror_prompt("left upper molar, light from the right, upright view") == (
        "left upper molar, light from the right, upright view"
    )


def test_mirroring_and_halving_commute_on_blocks() -> None:
    """Nearest neighbour takes the same one of four pixels from either side, so the four must be equal."""
    small = made_record(8, 8)
    conditions = {name: array.repeat(2, 0).repeat(2, 1) for name, array in small.conditions.items()}
    assert small.fdi is not None
    large = ConditionRecord("k", "g", "", "", conditions, small.fdi.repeat(2, 0).repeat(2, 1), None, "", {})
    one, other = fit_record(mirror_record(large), (8, 8), "pad"), mirror_record(fit_record(large, (8, 8), "pad"))
    assert one.fdi is not None
    assert (one.fdi == other.fdi).all()
    for name, array in one.conditions.items():
        assert (array == other.conditions[name]).all(), name


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32))
def test_mirroring_and_taking_every_third_label_commute(seed: int) -> None:
    """Nearest neighbour takes the middle of three pixels from either side."""
    record = made_record(24, 24, seed)
    one, other = fit_record(mirror_record(record), (8, 8), "pad"), mirror_record(fit_record(record, (8, 8), "pad"))
    assert one.fdi is not None
    assert (one.fdi == other.fdi).all()
    assert (one.conditions["segmentation"] == other.conditions["segmentation"]).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 2**32))
def test_palette_colours_are_read_back(height: int, width: int, seed: int) -> None:
    seg = np.random.default_rng(seed).integers(0, 3, (height, width)).astype(np.uint8)
    found = labels_from_palette(colour_segmentation(seg))
    assert found.dtype == np.uint8
    assert (found == seg).all()


def coloured() -> NDArray[np.uint8]:
    """A label image with a band of gum around teeth."""
    seg = np.zeros((40, 60), np.uint8)
    seg[8:32, 10:50] = 1
    seg[12:24, 20:40] = 2
    return colour_segmentation(seg)


def test_colour_outside_the_palette_is_reported_with_its_count_and_the_closest_class() -> None:
    image = coloured()
    image[0, :3], image[1, 0] = (203, 71, 47), (0, 0, 0)
    with pytest.raises(ConditionError) as caught:
        labels_from_palette(image)
    assert caught.value.file == "label image"
    assert caught.value.found.startswith("4 pixels of 2 colours")
    assert "(203, 71, 47) (3 pixels)" in caught.value.found
    assert str(GUM_RGB) in caught.value.expected


def test_label_image_that_was_a_jpeg_is_rejected() -> None:
    buffer = io.BytesIO()
    Image.fromarray(coloured()).save(buffer, format="JPEG", quality=95, subsampling=0)
    decoded = np.asarray(Image.open(buffer))
    with pytest.raises(ConditionError) as caught:
        labels_from_palette(decoded)
    assert caught.value.found.startswith(f"{strays(decoded)} pixels")


def test_label_image_that_was_interpolated_is_rejected() -> None:
    image = Image.fromarray(coloured())
    interpolated = np.asarray(image.resize((90, 60), Image.Resampling.BILINEAR))
    with pytest.raises(ConditionError) as caught:
        labels_from_palette(interpolated)
    assert caught.value.found.startswith(f"{strays(interpolated)} pixels")
    nearest = labels_from_palette(np.asarray(image.resize((90, 60), Image.Resampling.NEAREST)))
    assert set(np.unique(nearest)) == {0, 1, 2}


def strays(image: NDArray[np.uint8]) -> int:
    """Pixels of other colours than those of ``coloured``, one by one."""
    palette = {tuple(colour) for colour in coloured().reshape(-1, 3).tolist()}
    return sum(tuple(pixel) not in palette for pixel in image.reshape(-1, 3).tolist())


def test_custom_palettes() -> None:
    image = np.array([[[255, 0, 0], [0, 0, 255]]], np.uint8)
    assert labels_from_palette(image, {11: (255, 0, 0), 48: (0, 0, 255)}).tolist() == [[11, 48]]


def test_palette_with_equal_colours_is_an_error_of_the_caller() -> None:
    palette = {0: TOOTH_RGB, 4: TOOTH_RGB}
    with pytest.raises(SpecError) as caught:
        labels_from_palette(coloured(), palette)
    assert (caught.value.key, caught.value.found) == ("palette", palette)


@pytest.mark.parametrize("image", [np.zeros((2, 2, 4), np.uint8), np.zeros((2, 2), np.uint8), np.zeros((2, 2, 3))])
def test_label_image_must_be_rgb_bytes(image: NDArray[np.uint8]) -> None:
    with pytest.raises(ConditionError) as caught:
        labels_from_palette(image)
    assert str(image.shape) in caught.value.found
    assert str(image.dtype) in caught.value.found


def test_tissue_classes_by_hand() -> None:
    """Background, gum, tooth, other soft tissue, restoration, appliance, skin, instrument, dam, unused, ignore."""
    seg = np.array([[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 254, 255]], np.uint8)
    assert tissue_classes(seg).tolist() == [[0, 1, 2, 0, 2, 255, 0, 0, 0, 255, 255, 255]]
    assert tissue_classes(seg[None]).shape == (1, 1, 12)
