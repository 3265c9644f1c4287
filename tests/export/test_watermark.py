"""The watermark's numbers: what is found again after which change, the law of scores without it, and what it costs."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from dentgen.errors import ConditionError
from dentgen.export.watermark import LEAST_MARKED, LEAST_SEARCHED, THRESHOLD, marked, score, signs_of
from tests.export.marked_builds import KEY, OTHER_KEY, as_jpeg, resized, scene

SIGNS = signs_of(KEY)
SIZES = [(128, 128), (256, 384), (512, 512)]


def psnr(picture: np.ndarray, changed: np.ndarray) -> float:
    """Peak signal to noise ratio, dB."""
    error = np.square(picture.astype(float) - changed).mean()
    return float(10 * np.log10(255**2 / error))


@pytest.mark.parametrize("size", SIZES)
def test_a_marked_picture_is_told_from_others_and_other_keys(size: tuple[int, int]) -> None:
    picture = scene(1, *size)
    copy = marked(picture, SIGNS)
    assert score(copy, SIGNS) > 2 * THRESHOLD
    assert abs(score(picture, SIGNS)) < THRESHOLD
    assert abs(score(copy, signs_of(OTHER_KEY))) < THRESHOLD


@pytest.mark.parametrize("seed", range(4))
def test_compressed_and_resized_copies_are_still_marked(seed: int) -> None:
    copy = marked(scene(seed, 256, 192), SIGNS)
    for changed in (as_jpeg(copy, 75), resized(copy, 0.5), resized(resized(copy, 0.5), 2), resized(copy, 1.5)):
        assert score(changed, SIGNS) > 1.3 * THRESHOLD


def test_brightness_contrast_and_noise_leave_the_mark() -> None:
    copy = marked(scene(7, 256, 256), SIGNS).astype(float)
    for changed in (0.8 * copy, 255 * (copy / 255) ** 1.3, copy + np.random.default_rng(0).normal(0, 4, copy.shape)):
        assert score(np.clip(np.rint(changed), 0, 255).astype(np.uint8), SIGNS) > 1.5 * THRESHOLD


@pytest.mark.parametrize("carries", [False, True])
def test_scores_of_other_keys_are_standard_normal(carries: bool) -> None:
    scores = []
    for seed in range(2):
        picture = scene(seed)
        tried = marked(picture, SIGNS) if carries else picture
        scores += [score(tried, signs_of(b"another key %04d" % number)) for number in range(200)]
    assert abs(np.mean(scores)) < 5 / np.sqrt(len(scores))
    assert np.std(scores) == pytest.approx(1, abs=5 / np.sqrt(2 * len(scores)))
    assert np.max(np.abs(scores)) < 5 < THRESHOLD


def test_scores_have_variance_one_exactly() -> None:
    """A pattern of n signs scores at most the square root of n, and one sign scores 1 or -1."""
    one = np.zeros_like(SIGNS)
    one[60, 60] = 1
    assert abs(score(scene(0), one)) == pytest.approx(1)
    assert score(scene(0), -one) == -score(scene(0), one)


@pytest.mark.parametrize("size", SIZES)
def test_the_picture_hardly_changes(size: tuple[int, int]) -> None:
    for seed in range(3):
        picture = scene(seed, *size)
        assert 42 < psnr(picture, marked(picture, SIGNS)) < 43.5


def test_colours_and_shape_stay() -> None:
    picture = np.clip(scene(3, 130, 257), 20, 235)
    difference = marked(picture, SIGNS).astype(int) - picture
    assert difference.shape == picture.shape
    assert (difference == difference[..., :1]).all()
    assert difference.any()


@pytest.mark.parametrize("level", [0, 255])
def test_bars_stay_clean(level: int) -> None:
    picture = scene(5, 256, 256)
    picture[:64], picture[192:] = level, level
    copy = marked(picture, SIGNS)
    assert score(copy, SIGNS) > THRESHOLD
    assert (copy[:64] == level).all()
    assert (copy[192:] == level).all()


def test_flat_areas_stay_clean() -> None:
    picture = scene(5, 256, 256)
    picture[:128] = 90
    difference = np.abs(marked(picture, SIGNS).astype(int) - picture)
    assert difference[:100].max() <= 1
    assert difference[128:].mean() > 1


@pytest.mark.parametrize("level", [0, 128, 255])
def test_flat_pictures_stay_as_they_are_and_are_not_marked(level: int) -> None:
    flat = np.full((128, 160, 3), level, np.uint8)
    assert np.array_equal(marked(flat, SIGNS), flat)
    assert score(flat, SIGNS) == 0


def test_poor_pictures_get_little() -> None:
    slope = np.repeat(np.linspace(100, 110, 256)[None, :, None], 256, 0).repeat(3, -1).astype(np.uint8)
    assert np.abs(marked(slope, SIGNS).astype(int) - slope).max() <= 2


def test_the_same_key_and_picture_give_the_same_copy() -> None:
    picture = scene(9)
    before = picture.copy()
    assert np.array_equal(marked(picture, SIGNS), marked(picture, signs_of(KEY)))
    assert np.array_equal(picture, before)


def test_the_pattern_of_a_key_never_changes() -> None:
    """Else pictures of earlier versions would count as unmarked."""
    assert SIGNS.shape == (112, 112)
    assert set(np.unique(SIGNS)) == {-1, 0, 1}
    radius = np.hypot(*np.ogrid[:112, :112])
    assert np.array_equal(SIGNS != 0, (radius >= 40) & (radius < 112))
    assert SIGNS[60, 50:60].tolist() == [-1, -1, 1, 1, -1, -1, 1, 1, 1, -1]
    assert hashlib.sha256(SIGNS.tobytes()).hexdigest()[:16] == "ddcadeaeaebb3cb7"


def test_patterns_of_keys_have_nothing_in_common() -> None:
    count = np.count_nonzero(SIGNS)
    assert abs(SIGNS.sum(dtype=int)) < 5 * np.sqrt(count)
    assert abs((SIGNS.astype(int) * signs_of(OTHER_KEY)).sum()) < 5 * np.sqrt(count)


@pytest.mark.parametrize(("work", "least"), [(marked, LEAST_MARKED), (score, LEAST_SEARCHED)])
def test_small_pictures_are_refused_by_name(work: object, least: int) -> None:
    assert callable(work)
    work(scene(0, least, least + 50), SIGNS, "a.png")
    with pytest.raises(ConditionError) as caught:
        work(scene(0, least + 50, least - 1), SIGNS, "a.png")
    error = caught.value
    assert (error.file, error.found) == ("a.png", f"{least - 1} x {least + 50} pixels")
    assert str(least) in error.expected
