"""A judge that is kept is the judge that was trained, and no other set of pictures or settings gets it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dentgen.evaluation.judge_cache import JudgeSettings, kept_judge, kept_segmenters
from dentgen.evaluation.judges import Segmenter, judge_features, judge_labels

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (6, 32, 32, 3)).astype(np.uint8)
TRUTH = RNG.integers(0, 3, (6, 32, 32)).astype(np.uint8)


def kept(work: Path) -> list[str]:
    return sorted(path.name for path in (work / "judges").iterdir())


def test_the_second_time_is_bit_for_bit_the_first_and_trains_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = JudgeSettings(unet_steps=3, dilated_steps=3)
    first = kept_segmenters(str(tmp_path), IMAGES, TRUTH, settings)
    assert [name.split("-")[0] for name in kept(tmp_path)] == ["dilated", "unet"]
    monkeypatch.setattr("dentgen.evaluation.judge_cache.train_judge", None)
    second = kept_segmenters(str(tmp_path), IMAGES, TRUTH, settings)
    for name in ("unet", "dilated"):
        assert np.array_equal(judge_labels(first[name], IMAGES), judge_labels(second[name], IMAGES))
        assert np.array_equal(judge_features(first[name], IMAGES), judge_features(second[name], IMAGES))


def test_whatever_decides_a_judge_names_it(tmp_path: Path) -> None:
    other_truth, other_images = TRUTH.copy(), IMAGES.copy()
    other_truth[0, 0, 0] = (TRUTH[0, 0, 0] + 1) % 3
    other_images[0, 0, 0, 0] ^= 1
    for number, (images, truth, steps, seed) in enumerate(
        [(IMAGES, TRUTH, 1, 0), (other_images, TRUTH, 1, 0), (IMAGES, other_truth, 1, 0), (IMAGES, TRUTH, 2, 0),
         (IMAGES, TRUTH, 1, 1)]
    ):  # fmt: skip
        kept_judge(str(tmp_path), Segmenter, images, truth, steps=steps, seed=seed, name="unet")
        assert len(kept(tmp_path)) == number + 1
