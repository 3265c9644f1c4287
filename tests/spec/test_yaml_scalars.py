"""Scalars that readers of YAML disagree on."""

from __future__ import annotations

import pytest

from dentgen.spec.yaml_scalars import AmbiguousText, misread_scalars, yaml_reader


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("10", 10), ("-3", -3), ("0", 0), ("0o17", 15), ("0x1F", 31), ("1_000", 1000), ("1e-4", 1e-4), (".5", 0.5),
        ("4.", 4.0), ("true", True), ("FALSE", False), ("null", None), ("~", None), ("'010'", "010"),
        ("010", "010"), ("00", "00"), ("0b11", "0b11"), ("1:30", "1:30"), ("yes", "yes"), ("2026-01-31", "2026-01-31"),
        ("01.5", "01.5"),
    ],
)  # fmt: skip
def test_plain_scalars(text: str, value: object) -> None:
    found = yaml_reader().load(text)
    assert (found, isinstance(found, str)) == (value, isinstance(value, str))
    assert type(found) in {type(value), AmbiguousText}


def test_misread_scalars_are_found_at_any_depth() -> None:
    values = {"a": {"b": [1, AmbiguousText("010"), True]}, "c": "4", "d": AmbiguousText("010"), "e": float("inf")}
    validated = {"a": {"b": (1, 10, 1)}, "c": 4, "d": "010", "e": float("inf")}
    assert [(key, found) for key, found, _ in misread_scalars(values, validated)] == [
        ("a.b.1", "'010'"), ("a.b.2", "'true'"), ("e", "inf"),
    ]  # fmt: skip
