"""The source section: members, and factors of oversampling."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from dentgen.errors import SpecError
from dentgen.spec.build import BuildSpec
from dentgen.spec.yaml_file import read_spec
from tests.conftest import ROOT


def test_oversampling_takes_the_largest_factor() -> None:
    source = BuildSpec.model_validate(
        {"source": {"oversample": {"lighting": {"harsh": 3}, "caries": {"any": 2}}}}
    ).source
    assert source.repeats({"lighting": "harsh", "caries": "2"}) == 3
    assert source.repeats({"lighting": "ring", "caries": "1"}) == 2
    assert source.repeats({"lighting": "ring", "caries": "0"}) == source.repeats({}) == 1


def test_values_may_be_words_and_numbers() -> None:
    value = "{braces: {yes: 4}, missing_teeth: {2: 5}}"
    source = read_spec(ROOT / "jobs" / "specs" / "demo.yaml", [f"source.oversample={value}"]).source
    assert source.repeats({"braces": "yes"}) == 4
    assert source.repeats({"missing_teeth": "2"}) == 5
    assert source.repeats({"braces": "no", "missing_teeth": "1"}) == 1


@pytest.mark.parametrize(
    "value",
    ["{lihgt: {harsh: 2}}", "{lighting: {harsh: 0}}", "{lighting: {harsh: 101}}", "{lighting: {harsh: true}}"],
)
def test_unknown_attributes_and_other_factors_are_refused(value: str) -> None:
    with pytest.raises(SpecError) as caught:
        read_spec(ROOT / "jobs" / "specs" / "demo.yaml", [f"source.oversample={value}"])
    assert "source.oversample" in caught.value.key


@pytest.mark.parametrize(
    ("sections", "key"),
    [
        ({"source": {"path": ""}}, ("source", "path")),
        ({"source": {"ignore_members": ["json"]}}, ("source", "ignore_members")),
    ],
)
def test_what_cannot_be_a_source_is_refused(sections: dict[str, Any], key: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError) as caught:
        BuildSpec.model_validate(sections)
    assert [fault["loc"] for fault in caught.value.errors()] == [key]
