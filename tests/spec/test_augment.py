"""The augment section: what is used, and values out of range."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from dentgen.spec.augment import AugmentSpec
from dentgen.spec.build import BuildSpec

NAN = float("nan")


def test_only_what_changes_something_is_used() -> None:
    assert AugmentSpec().used == {}
    assert AugmentSpec(blur=1.5, jpeg=60, border=0.0).used == {"blur": 1.5, "jpeg": 60.0}


@pytest.mark.parametrize(
    "value", [{"border": 1.5}, {"jpeg": 96}, {"exposure": -1}, {"noise": float("nan")}, {"fog": 1}]
)
def test_values_out_of_range_are_refused(value: dict[str, float]) -> None:
    with pytest.raises(ValidationError) as caught:
        AugmentSpec.model_validate(value)
    assert [error["loc"] for error in caught.value.errors()] == [tuple(value)]


def test_it_decides_bytes_only_where_it_changes_something() -> None:
    plain = BuildSpec()
    assert "augment" not in plain.deciding()
    changed = BuildSpec(augment=AugmentSpec(noise=0.1))
    assert changed.digest() != plain.digest()
    assert BuildSpec(augment=AugmentSpec(noise=0.0)).digest() == plain.digest()
