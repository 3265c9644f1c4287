"""Keys that file systems may confuse are named."""

from __future__ import annotations

import logging

import pytest

from dentgen.conditions.readers.raw import ShardIndex
from dentgen.conditions.readers.twins import warn_of_twins


def indexes(*keys: tuple[str, ...]) -> list[ShardIndex]:
    return [ShardIndex.of(found, None) for found in keys]


@pytest.mark.parametrize(
    ("shards", "twins"),
    [
        ((("a", "b"), ("A", "c")), [("a", "A")]),
        ((("z\u00e4hne", "za\u0308hne"),), [("z\u00e4hne", "za\u0308hne")]),
        ((("STRASSE", "stra\u00dfe", "strasse"),), [("STRASSE", "stra\u00dfe"), ("STRASSE", "strasse")]),
        ((("a", "b"), ("a", "b")), []),
        ((("\udcff", "\udcfe"),), []),
        ((), []),
    ],
)
def test_twins_are_found_across_shards(shards: tuple[tuple[str, ...], ...], twins: list[tuple[str, str]]) -> None:
    assert warn_of_twins(indexes(*shards)) == twins


def test_twins_are_logged_by_name(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    warn_of_twins(indexes(("Jaw-1", "jaw-1"), tuple(f"{name}{n}" for n in range(9) for name in "xX")))
    assert "Jaw-1 and jaw-1" in caplog.text
    assert len(caplog.records) == 6
    assert "5 more" in caplog.text
