"""What differs between variants: factors in turn, and combinations that mean nothing."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from dentgen.spec.build import BuildSpec
from dentgen.spec.variants import VariantsSpec

GUM: dict[str, Any] = {"where": "gingiva", "kind": "inflammation", "prompt": "red gums"}


def test_factors_take_turns_after_the_reference() -> None:
    spec = VariantsSpec.model_validate({"same_noise": True, "change": ["prompt", "findings"], "prompts": ["a", "b"]})
    assert [spec.factor(n) for n in range(6)] == [None, "prompt", "findings", "prompt", "findings", "prompt"]
    assert [spec.prompt(n) for n in range(6)] == [None, "a", None, "b", None, "a"]
    assert VariantsSpec().factor(3) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"same_noise": True},
        {"change": ["lighting"]},
        {"same_noise": True, "change": ["lighting", "lighting"]},
        {"same_noise": True, "change": ["prompt"]},
        {"same_noise": True, "change": ["lighting"], "prompts": ["a"]},
        {"same_noise": True, "change": ["seed"]},
    ],
)
def test_what_means_nothing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        VariantsSpec.model_validate(wrong)


@pytest.mark.parametrize(
    "sections",
    [
        {"variants": {"same_noise": True, "change": ["findings"]}},
        {"variants": {"same_noise": True, "change": ["lighting"]}, "conditions": {"use": ["segmentation"]}},
        {"variants": {"same_noise": True, "change": ["lighting"]}, "sampling": {"variants": 1}},
        {"variants": {"same_noise": True, "change": ["lighting"]}, "sampling": {"seed_to": 3}},
    ],
)
def test_factors_need_what_they_change(sections: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        BuildSpec.model_validate(sections)


def test_held_factors_decide_bytes() -> None:
    plain = BuildSpec.model_validate({"findings": [GUM]})
    held = BuildSpec.model_validate({"findings": [GUM], "variants": {"same_noise": True, "change": ["findings"]}})
    assert "variants" not in plain.deciding()
    assert plain.digest() != held.digest()
