"""Scattered records are told from duplicates, and counted once."""

from __future__ import annotations

import pytest

from dentgen.conditions.readers.scattered import ScatteredKeys

Groups = list[tuple[str, str]]


@pytest.mark.parametrize(
    ("groups", "scattered", "once"),
    [
        ([("a", "sl"), ("b", "sl")], set(), "ab"),
        ([("a", "s"), ("b", "s"), ("a", "l"), ("b", "l")], {"a", "b"}, "ab"),
        ([("a", "sl"), ("b", "sl"), ("a", "sl")], set(), "aba"),
        ([("a", "s"), ("b", "sl"), ("a", "l"), ("a", "s")], {"a"}, "ab"),
        ([("a", "sl"), ("a", "s"), ("b", "s")], set(), "aab"),
        ([("a", "s"), ("b", "s"), ("a", "l"), ("c", "s"), ("a", "f")], {"a"}, "abc"),
    ],
)
def test_a_repeated_member_is_a_duplicate_and_a_new_one_the_rest(
    groups: Groups, scattered: set[str], once: str
) -> None:
    found = ScatteredKeys()
    for key, extensions in groups:
        found.note(key, extensions)
    assert found.keys == scattered
    assert "".join(key for key, _ in found.once(groups, lambda group: group[0])) == once


def test_the_problem_says_what_to_do() -> None:
    problem = ScatteredKeys().problem("x.tar: a")
    assert problem.file == "x.tar: a"
    assert "together" in problem.expected
