"""Grouping rejected samples by the kind of their reason."""

from __future__ import annotations

import pyarrow as pa
import pytest

from dentgen.errors import ConditionError
from dentgen.report.html.rejects import EXAMPLES, MAX_GROUPS, OTHER, RejectGroups, generalised


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("a.tar: k: found 3 x 5 pixels, expected at most 99 in all", "found N x N pixels, expected at most 99 in all"),
        (
            "k: found members ['json', 'seg.png'], expected a member 'x'",
            "found members ['…', …], expected a member 'x'",
        ),
        ("k: found sizes {'seg': (8, 9), 'fdi': (7, 8)}, expected one", "found sizes {'…': (N, …), …}, expected one"),
        ("k: found <Bytes at 0x7fA1>, expected a whole PNG", "found <Bytes at N>, expected a whole PNG"),
        ("k-v000: sampling gave values that are not finite", "sampling gave values that are not finite"),
        ("a.tar: cannot be read: error 5", "cannot be read: error N"),
        ("something odd", "something odd"),
        ("x: found only this", "found only this"),
        ("", "no reason given"),
    ],
)
def test_kinds_of_reasons(reason: str, kind: str) -> None:
    assert generalised(reason) == kind


def test_condition_errors_at_other_places_are_of_one_kind() -> None:
    errors = [ConditionError(f"shard {n}.tar: jaw-{n}.seg.png", f"class {n}", "0 to 5") for n in range(3)]
    assert {generalised(str(error)) for error in errors} == {"found class N, expected 0 to 5"}


def test_groups_are_ranked_by_size_with_distinct_examples() -> None:
    groups = RejectGroups()
    groups.add(pa.array(["a: found 1, expected 2"] * 3 + ["b: is odd"]))
    groups.add(pa.array([*(f"{n}: found {n}, expected 2" for n in range(9)), "b: is odd", None]))
    first, second, third = groups.ranked()
    assert (first.reason, first.samples, len(first.examples)) == ("found N, expected 2", 12, EXAMPLES)
    assert (second.reason, second.samples, second.examples) == ("is odd", 2, ("b: is odd",))
    assert (third.reason, third.samples, third.examples) == ("no reason given", 1, ("",))


def test_number_of_groups_is_bounded() -> None:
    groups = RejectGroups()
    words = [f"k: word{chr(97 + n % 26)}{chr(97 + n // 26 % 26)} is wrong" for n in range(26 * 26)]
    groups.add(pa.array(words))
    ranked = groups.ranked()
    assert len(ranked) == MAX_GROUPS + 1
    assert (ranked[0].reason, ranked[0].samples, len(ranked[0].examples)) == (OTHER, 176, EXAMPLES)
    assert sum(group.samples for group in ranked) == 676
