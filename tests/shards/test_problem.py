"""A problem as it is printed."""

from __future__ import annotations

from dentgen.shards.problem import Problem


def test_a_problem_is_one_line_and_names_its_place() -> None:
    assert str(Problem("shards/000000.tar", "missing", 0)) == "shards/000000.tar: missing"
