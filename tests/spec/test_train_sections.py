"""Keys that every training spec has: null for none, values that fit together."""

from __future__ import annotations

from typing import Any

import pytest

from dentgen.spec.train_sections import PixelWeights
from tests.spec.train_specs import valid, wrong_keys


@pytest.mark.parametrize("key", ["start", "align", "tensorboard", "name", "adapter", "validate_split"])
def test_none_is_null_and_never_an_empty_text(key: str) -> None:
    recipe = {"start": "base", "align": "autoencoder", "adapter": "decoder"}.get(key, "adapter")
    assert getattr(valid(recipe, **{key: None}), key) is None
    assert wrong_keys(recipe, **{key: ""}) == [key]


@pytest.mark.parametrize("key", ["threads", "workers", "validate_steps"])
def test_none_is_null_and_never_zero(key: str) -> None:
    assert getattr(valid("adapter", **{key: None}), key) is None
    assert wrong_keys("adapter", **{key: 0}) == [key]


def test_a_null_split_takes_all_records() -> None:
    assert valid("adapter").source.split == "train"
    assert valid("adapter", source={"split": None}).source.split is None


@pytest.mark.parametrize(
    ("recipe", "values", "key"),
    [
        ("adapter", {"bundle": "s3://there/sd15"}, "bundle"),
        ("adapter", {"accumulate": 2, "loss": {"normalise": "batch"}}, "loss.normalise"),
        ("autoencoder", {"accumulate": 2, "loss": {"normalise": "batch"}}, "loss.normalise"),
        ("adapter", {"workers": 3}, "batch"),
        ("adapter", {"workers": 4, "accumulate": 8}, "batch"),
        ("adapter", {"learning_rate": float("nan")}, "learning_rate"),
        ("adapter", {"loss": {"tooth": float("inf")}}, "loss.tooth"),
    ],
)
def test_wrong_values_are_refused_by_key(recipe: str, values: dict[str, Any], key: str) -> None:
    assert wrong_keys(recipe, **values) == [key]


def test_weights_of_one_are_plain() -> None:
    assert PixelWeights().is_plain
    assert PixelWeights(boundary_pixels=5, normalise="none").is_plain
    for values in ({"tooth": 2.0}, {"boundary": 0.1}, {"background": 0.0}, {"gingiva": 0.5}, {"finding": 0.1}):
        assert not PixelWeights.model_validate(values).is_plain
