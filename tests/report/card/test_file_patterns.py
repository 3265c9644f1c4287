"""Patterns of a card match the shards of a version, every one of them, and no other name."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest

from dentgen.documents.units import unit_name
from dentgen.report.card import file_patterns
from dentgen.report.card.file_patterns import shard_paths
from dentgen.shards.layout import shard

RUNS = {
    "one run": range(3, 1234),
    "whole blocks": range(2000),
    "with gaps": [n for n in range(1500) if n % 7 or n > 400],
    "across the sixth digit": range(999_985, 1_000_025),
    "nothing in a row": range(0, 300, 2),
}


@pytest.mark.parametrize("case", RUNS)
def test_patterns_match_the_shards_and_nothing_else(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_patterns, "MAX_NAMED", 10)
    wanted = {shard(unit_name(number)) for number in RUNS[case]}
    patterns = shard_paths([unit_name(number) for number in RUNS[case]])
    others = [shard(unit_name(n)) for n in (*range(2500), *range(999_970, 1_000_040))]
    assert {name for name in others if any(fnmatchcase(name, pattern) for pattern in patterns)} == wanted
    if case != "nothing in a row":
        assert len(patterns) < len(wanted) / 2


def test_a_million_shards_take_a_few_lines() -> None:
    assert len(shard_paths([unit_name(number) for number in range(1_234_567)])) < 20


def test_few_shards_are_named() -> None:
    assert shard_paths(["000007", "000008"]) == ["shards/000007.tar", "shards/000008.tar"]
