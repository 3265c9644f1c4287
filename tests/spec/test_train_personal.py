"""Training specs of personal looks: prompts that can be told apart, words that name a file."""

from __future__ import annotations

from typing import Any

import pytest

from tests.spec.train_specs import valid, wrong_keys


@pytest.mark.parametrize(
    ("recipe", "values", "key"),
    [
        ("dreambooth", {"class_prompt": None}, "class_prompt"),
        ("dreambooth", {"class_prompt": "teeth, sks style"}, "class_prompt"),
        ("dreambooth", {"instance_prompt": ""}, "instance_prompt"),
        ("dreambooth", {"class_pictures": 0}, "class_pictures"),
        ("dreambooth", {"prior_weight": -1.0}, "prior_weight"),
        ("textual-inversion", {"name": "two words"}, "name"),
        ("textual-inversion", {"name": "../look"}, "name"),
        ("textual-inversion", {"name": "<look>"}, "name"),
        ("textual-inversion", {"vectors": 0}, "vectors"),
        ("textual-inversion", {"vectors": 33}, "vectors"),
        ("textual-inversion", {"prompts": ["{word}, {prompt}", "{prompt}"]}, "prompts"),
        ("textual-inversion", {"prompts": []}, "prompts"),
    ],
)
def test_settings_that_cannot_be_trained_are_refused_by_key(recipe: str, values: dict[str, Any], key: str) -> None:
    assert wrong_keys(recipe, **values) == [key]


def test_without_prior_no_class_prompt_is_needed() -> None:
    spec = valid("dreambooth", class_prompt=None, prior_weight=0.0)
    assert (spec.part, valid("dreambooth", name="clinic").part) == ("dreambooth", "clinic")
    assert spec.control_kinds == ()


def test_a_word_is_what_prompts_say() -> None:
    assert valid("textual-inversion", name="clinic-2").word == "<clinic-2>"
