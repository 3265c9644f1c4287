"""The model section: scales of control."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from dentgen.spec.build import BuildSpec


@pytest.mark.parametrize(
    ("scale", "loc"),
    [
        ({"teeth": 1.0}, "blended"), ({}, "blended"), ({"tooth": "x"}, "tooth"), ("x", "blended"),
        (float("inf"), "blended"), ({"tooth": float("nan")}, "tooth"),
    ],
)  # fmt: skip
def test_a_scale_is_a_number_or_numbers_by_class(scale: object, loc: str) -> None:
    assert BuildSpec.model_validate({"model": {"adapters": {"blended": {"tooth": 2}}}}).model.adapters == {
        "blended": {"tooth": 2.0}
    }
    with pytest.raises(ValidationError) as caught:
        BuildSpec.model_validate({"model": {"adapters": {"blended": scale}}})
    (fault,) = caught.value.errors()
    assert [part for part in fault["loc"] if "[" not in str(part)][-1] == loc
