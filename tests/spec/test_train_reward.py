"""Recipe ``reward``: what its spec derives, and what it refuses by key."""

from __future__ import annotations

from typing import Any

import pytest

from dentgen.spec.train_sections import ControlKind
from tests.spec.train_specs import valid, wrong_keys


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"name": "blended"}, "name"),
        ({"adapter": "own", "name": "own"}, "name"),
        ({"adapter": "normal"}, "control_image"),
        ({"watch": "unet"}, "watch"),
        ({"judge": "dilated"}, "watch"),
        ({"judge": "other"}, "judge"),
        ({"weight": -0.1}, "weight"),
        ({"reward_timesteps": [200, 0]}, "reward_timesteps"),
        ({"reward_timesteps": [0, 1000]}, "reward_timesteps"),
        ({"reward_timesteps": [-1, 10]}, "reward_timesteps"),
        ({"reward_share": 1.0}, "reward_share"),
        ({"reward_share": 0.01, "batch": 16}, "reward_share"),
        ({"reward_share": 0.99, "batch": 16}, "reward_share"),
        ({"reward_share": 0.5, "reward_timesteps": [0, 999]}, "reward_share"),
    ],
)
def test_settings_that_contradict_each_other_are_refused_by_key(values: dict[str, Any], key: str) -> None:
    assert wrong_keys("reward", **values) == [key]


def test_the_result_is_named_after_the_start() -> None:
    assert valid("reward").part == "blended-reward"
    assert valid("reward", adapter="own").part == "own-reward"
    assert valid("reward", name="better").part == "better"


@pytest.mark.parametrize(
    ("values", "kinds"),
    [
        ({}, ("blended", "blended-teeth")),
        ({"lighting_weight": 0.1}, ("blended", "blended-teeth", "lighting")),
        ({"adapter": "segmentation", "control_image": "segmentation"}, ("segmentation",)),
        (
            {"adapter": "segmentation", "control_image": "segmentation", "lighting_weight": 1},
            ("segmentation", "lighting"),
        ),
    ],
)
def test_rows_have_the_lighting_that_pictures_are_compared_with(
    values: dict[str, Any], kinds: tuple[ControlKind, ...]
) -> None:
    assert valid("reward", **values).control_kinds == kinds


def test_a_share_is_a_number_of_rows() -> None:
    assert valid("reward").rewarded_rows is None
    assert valid("reward", reward_share=0.29, batch=100).rewarded_rows == 29
    assert valid("reward", reward_share=0.5, batch=4).rewarded_rows == 2


def test_without_weights_nothing_is_rewarded_and_draws_are_those_of_the_adapter_recipe() -> None:
    assert not valid("reward", weight=0).is_rewarded
    assert valid("reward", weight=0, lighting_weight=0.1).is_rewarded
    assert valid("reward").is_rewarded
    assert valid("reward").draws == valid("adapter").draws == "adapter"
    assert valid("lcm-lora").draws == "lcm-lora"
