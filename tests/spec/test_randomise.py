"""Draws of a spec: their ends, what they need, and digests of specs without them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from dentgen.spec.build import BuildSpec
from dentgen.spec.randomise import RandomiseSpec

GUIDED: dict[str, Any] = {"sampling": {"guidance_scale": 2.0}, "model": {"adapters": {"blended": 1.0}}}


@pytest.mark.parametrize("ends", [[2, 1], [-0.1, 1], [0, 101], [1]])
def test_ends_are_two_in_order(ends: list[float]) -> None:
    with pytest.raises(ValidationError) as caught:
        RandomiseSpec.model_validate({"control_scale": ends})
    assert {error["loc"][0] for error in caught.value.errors()} == {"control_scale"}


def test_prompts_stand_around_the_own_one() -> None:
    draws = RandomiseSpec(prompts=("{prompt}, dark", "a mouth"))
    assert draws.said("teeth") == ("teeth, dark", "a mouth")
    assert draws.used == ("prompts",)


@pytest.mark.parametrize(
    ("draws", "other"),
    [
        ({"guidance_scale": [1, 2]}, {"sampling": {"guidance_scale": 1.0}}),
        ({"control_scale": [1, 2]}, {"model": {"adapters": {}}}),
        ({"control_scale": [1, 2]}, {"model": {"adapters": {"blended": {"tooth": 1.5}}}}),
        ({"prompts": ["a"]}, {"sampling": {"guidance_scale": 2.0, "prompt_to": "b"}}),
        ({"prompts": ["a"]}, {"variants": {"same_noise": True, "change": ["prompt"], "prompts": ["b"]}}),
        ({"prompts": ["a"]}, {"sampling": {"guidance_scale": 2.0, "noise": "series"}}),
    ],
)
def test_draws_that_could_not_act_are_refused(draws: dict[str, Any], other: dict[str, Any]) -> None:
    BuildSpec.model_validate({**GUIDED, "randomise": {"guidance_scale": [1, 2], "prompts": ["a"]}})
    with pytest.raises(ValidationError) as caught:
        BuildSpec.model_validate({**GUIDED, **other, "randomise": draws})
    assert f"randomise.{next(iter(draws))}" in str(caught.value.errors()[0]["msg"])


def test_specs_without_draws_keep_their_digest() -> None:
    plain = BuildSpec.model_validate(GUIDED)
    assert "randomise" not in plain.deciding()
    drawn = BuildSpec.model_validate({**GUIDED, "randomise": {"control_scale": [0.5, 1.5]}})
    assert drawn.digest() != plain.digest()


def test_drawn_prompts_share_no_control_passes() -> None:
    plain = BuildSpec.model_validate(GUIDED)
    drawn = BuildSpec.model_validate({**GUIDED, "randomise": {"prompts": ["a", "b"]}})
    assert drawn.control_slots > plain.control_slots
