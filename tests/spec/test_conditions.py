"""The conditions section: sizes of pictures, and conditions that do not go together."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from dentgen.errors import SpecError
from dentgen.spec.build import BuildSpec
from dentgen.spec.yaml_file import validate_document

#: Digest of a build spec of which only the size is named, from before pictures could have other shapes than squares.
SQUARE = {
    128: "9e498f1352ac688f79a671d8d07f3d16401cc3f6451c93d58160686d32c06889",
    512: "d6c24f3f93093454a21810341ce983120dc6247c8ff6d67ab2f1c57df688a483",
    None: "98c45bda3053f28fdddc74e25a39bc9936196580bcb8a1f3c1b98486f4b9ef4b",
}


def sized(size: object) -> BuildSpec:
    return BuildSpec.model_validate({"conditions": {"size": size}})


@pytest.mark.parametrize("size", SQUARE)
def test_digests_of_squares_stay(size: int | None) -> None:
    assert sized(size).digest() == SQUARE[size]
    if size is not None:
        assert sized([size, size]) == sized((size, size)) == sized(size), "one name for one dataset"


def test_a_size_is_an_edge_or_height_and_width() -> None:
    wide, tall = sized([64, 96]), sized([96, 64])
    assert (wide.conditions.shape, tall.conditions.shape) == ((64, 96), (96, 64))
    assert (sized(64).conditions.shape, sized(64).conditions.edge) == ((64, 64), 64)
    assert len({wide.digest(), tall.digest(), sized(64).digest(), sized(96).digest()}) == 4
    for spec in (wide, sized(64), sized(None)):
        assert BuildSpec.model_validate_json(spec.model_dump_json()) == spec
        assert BuildSpec.model_validate(spec.model_dump()) == spec
    with pytest.raises(SpecError) as caught:
        _ = tall.conditions.edge
    assert (caught.value.key, caught.value.found) == ("conditions.size", [96, 64])
    assert caught.value.expected.startswith("a square")


@pytest.mark.parametrize(
    ("size", "key", "found"),
    [
        (63, "conditions.size", "63"), (0, "conditions.size", "0"), (4104, "conditions.size", "4104"),
        ("x", "conditions.size", "'x'"), ({}, "conditions.size", "{}"), ([], "conditions.size", "[]"),
        ([64], "conditions.size", "[64]"), ([64, 64, 3], "conditions.size", "[64, 64, 3]"),
        ([64, 65], "conditions.size.1", "65"), ([0, 64], "conditions.size.0", "0"),
        ([64, 4104], "conditions.size.1", "4104"), ([[64], 64], "conditions.size.0", "[64]"),
        (["x", 64], "conditions.size.0", "'x'"), ([64, None], "conditions.size.1", "None"),
    ],
)  # fmt: skip
def test_a_wrong_size_is_one_fault(size: object, key: str, found: str) -> None:
    with pytest.raises(SpecError) as caught:
        validate_document(BuildSpec, {"conditions": {"size": size}}, "s.yaml")
    assert not caught.value.faults or len(caught.value.faults) == 1
    (fault,) = caught.value.faults or [caught.value]
    assert (fault.key, fault.found) == (key, found)
    assert fault.expected


@pytest.mark.parametrize(
    ("sections", "key"),
    [
        ({"conditions": {"use": ["normal", "depth"]}}, ("conditions",)),
        ({"conditions": {"use": ["lighting", "lighting"]}}, ("conditions",)),
        ({"conditions": {"control_start": 0.9, "control_end": 0.1}}, ("conditions",)),
    ],
)
def test_conditions_that_do_not_go_together_are_refused(sections: dict[str, Any], key: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError) as caught:
        BuildSpec.model_validate(sections)
    assert [fault["loc"] for fault in caught.value.errors()] == [key]
