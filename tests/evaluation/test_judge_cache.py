"""A cache hit returns the stored judge, and nothing else hits."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dentgen.evaluation.judge_cache import cached_judge, cached_segmenters
from dentgen.evaluation.judge_settings import JudgeSettings
from dentgen.evaluation.judges import judge_features, judge_labels, train_judge
from dentgen.models.judge_networks import Segmenter

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (6, 32, 32, 3)).astype(np.uint8)
TRUTH = RNG.integers(0, 3, (6, 32, 32)).astype(np.uint8)


def cached(work: Path) -> list[Path]:
    return sorted((work / "judges").iterdir())


def test_a_hit_is_bit_for_bit_the_trained_judge(tmp_path: Path) -> None:
    settings = JudgeSettings(unet_steps=3, dilated_steps=3)
    first = cached_segmenters(str(tmp_path), IMAGES, TRUTH, settings)
    assert [path.name.split("-")[0] for path in cached(tmp_path)] == ["dilated", "unet"]
    second = cached_segmenters(str(tmp_path), IMAGES, TRUTH, settings)
    for name in ("unet", "dilated"):
        assert np.array_equal(judge_labels(first[name], IMAGES), judge_labels(second[name], IMAGES))
        assert np.array_equal(judge_features(first[name], IMAGES), judge_features(second[name], IMAGES))


def test_a_hit_trains_nothing(tmp_path: Path) -> None:
    """What lies under a judge's name is loaded, even if another judge's weights were put there."""

    def features(seed: int) -> np.ndarray:
        judge = cached_judge(str(tmp_path), Segmenter, IMAGES, TRUTH, steps=1, seed=seed, name="unet")
        return judge_features(judge, IMAGES)

    own = features(0)
    (place,) = cached(tmp_path)
    other = features(1)
    (second,) = set(cached(tmp_path)) - {place}
    place.write_bytes(second.read_bytes())
    assert not np.array_equal(own, other)
    assert np.array_equal(features(0), other)


def test_everything_that_decides_a_judge_is_in_its_name(tmp_path: Path) -> None:
    other_truth, other_images = TRUTH.copy(), IMAGES.copy()
    other_truth[0, 0, 0] = (TRUTH[0, 0, 0] + 1) % 3
    other_images[0, 0, 0, 0] ^= 1
    for number, (images, truth, steps, seed, name) in enumerate(
        [(IMAGES, TRUTH, 1, 0, "unet"), (other_images, TRUTH, 1, 0, "unet"), (IMAGES, other_truth, 1, 0, "unet"),
         (IMAGES, TRUTH, 2, 0, "unet"), (IMAGES, TRUTH, 1, 1, "unet"), (IMAGES, TRUTH, 1, 0, "other")]
    ):  # fmt: skip
        cached_judge(str(tmp_path), Segmenter, images, truth, steps=steps, seed=seed, name=name)
        assert len(cached(tmp_path)) == number + 1
    cached_judge(str(tmp_path), Segmenter, IMAGES, TRUTH, steps=1, seed=0, name="unet", photometric=True)
    assert len(cached(tmp_path)) == number + 2


def test_segmenters_learn_in_random_light(tmp_path: Path) -> None:
    """So that they read a darker picture of a model as what it shows."""
    found = cached_segmenters(str(tmp_path), IMAGES, TRUTH, JudgeSettings(unet_steps=2, dilated_steps=1))["unet"]
    trained = train_judge(Segmenter, IMAGES, TRUTH, steps=2, seed=0, name="unet", photometric=True)
    assert np.array_equal(judge_features(found, IMAGES), judge_features(trained, IMAGES))
