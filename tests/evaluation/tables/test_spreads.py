"""The lead rule on planted numbers: the best is named only where it leads every other by more than both spreads."""

from __future__ import annotations

from math import isnan, nan

import pytest

from dentgen.evaluation.tables.spreads import Goal, leader, spread


def test_the_spread_is_the_sample_standard_deviation() -> None:
    figure = spread([1.0, 2.0, 6.0])
    assert (figure.mean, figure.values) == (3.0, (1.0, 2.0, 6.0))
    assert figure.deviation == pytest.approx(7**0.5)
    assert isnan(spread([0.5]).deviation)


@pytest.mark.parametrize(
    ("goal", "best"), [("high", "ahead"), ("low", "behind"), ("none", None)]
)  # fmt: skip
def test_a_lead_beyond_the_spread_is_named(goal: Goal, best: str | None) -> None:
    figures = {"behind": spread([0.1, 0.2, 0.3]), "middle": spread([0.5, 0.5, 0.5]), "ahead": spread([0.9, 0.9, 0.9])}
    assert leader(figures, goal) == best


def test_a_lead_within_the_larger_spread_is_not_named() -> None:
    steady, loud = spread([0.80, 0.80, 0.80]), spread([0.5, 0.7, 0.9])
    assert leader({"loud": loud, "steady": steady}, "high") is None, "0.1 ahead of 0.7 ± 0.2"
    assert leader({"loud": spread([0.69, 0.70, 0.71]), "steady": steady}, "high") == "steady"


def test_every_other_candidate_counts_not_only_the_next() -> None:
    figures = {"best": spread([0.9, 0.9]), "next": spread([0.8, 0.8]), "wild": spread([0.3, 0.99])}
    assert leader(figures, "high") is None, "wild is 0.645 ± 0.49"


def test_near_one_is_best_from_both_sides() -> None:
    figures = {"soft": spread([0.4, 0.4]), "right": spread([1.1, 1.1]), "noisy": spread([1.9, 1.9])}
    assert leader(figures, "one") == "right"


@pytest.mark.parametrize("figures", [{"only": spread([1.0, 1.0])}, {"a": spread([1.0]), "b": spread([0.0])},
                                     {"a": spread([1.0, 1.0]), "b": spread([nan, nan])}])  # fmt: skip
def test_what_cannot_be_compared_has_no_leader(figures: dict[str, object]) -> None:
    assert leader(figures, "high") is None  # type: ignore[arg-type]
