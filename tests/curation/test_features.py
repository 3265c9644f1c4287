"""Features: in order, whatever the batches; standardised by the reference alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from dentgen.curation import features as module
from dentgen.curation.features import Features, Scale, picture_features
from dentgen.curation.pictures import Picture
from dentgen.errors import ConditionError
from dentgen.models.judge_networks import judge_input
from dentgen.models.judges import load_judges
from tests.curation.planted_builds import small_judges, smooth


def pictures(count: int, shape: tuple[int, int] = (32, 32)) -> list[Picture]:
    return [Picture(f"k{n}", "", smooth(f"k{n}", shape)) for n in range(count)]


def test_features_are_those_of_both_networks_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BATCH", 2)
    judges = load_judges(small_judges(tmp_path))
    shown = pictures(5)
    found = picture_features(shown, judges)
    assert found.keys == ("k0", "k1", "k2", "k3", "k4")
    assert found.values.shape == (5, 192)
    assert found.values.dtype == np.float32
    images = judge_input(np.stack([picture.pixels for picture in shown]))
    with torch.no_grad():
        expected = torch.cat([judges.networks[name].features(images) for name in ("unet", "dilated")], 1)
    np.testing.assert_allclose(found.values, expected.numpy(), atol=1e-4)


def test_pictures_of_several_sizes_keep_their_order(tmp_path: Path) -> None:
    judges = load_judges(small_judges(tmp_path))
    mixed = [*pictures(2), *pictures(2, (64, 32)), *pictures(1)]
    found = picture_features(mixed, judges)
    assert found.keys == ("k0", "k1", "k0", "k1", "k0")
    np.testing.assert_allclose(found.values[0], found.values[4], atol=1e-5)
    assert np.abs(found.values[0] - found.values[2]).max() > 1e-3


def test_no_picture_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConditionError) as caught:
        picture_features([], load_judges(small_judges(tmp_path)))
    assert caught.value.found == "no picture"


def test_the_reference_alone_is_standardised_to_0_and_1() -> None:
    rng = np.random.default_rng(3)
    reference = Features(("a",) * 400, (rng.normal(size=(400, 3)) * [1, 10, 0] + [5, -2, 7]).astype(np.float32))
    scale = Scale.of(reference)
    values = scale.standardised(reference).values
    assert values.dtype == np.float32
    np.testing.assert_allclose(values.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(values.std(0), [1, 1, 0], atol=1e-5)
    other = scale.standardised(Features(("b",), np.array([[6, -2, 9]], np.float32))).values[0]
    expected = (np.array([6, -2]) - scale.mean[:2]) / scale.deviation[:2]
    np.testing.assert_allclose(other, [*expected, 0], atol=1e-5)
