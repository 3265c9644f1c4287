"""Shares of two builds and their distances, against figures worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dentgen.report.comparison.shares import (
    SharePair,
    compare_distributions,
    compare_labels,
    compare_teeth,
)
from dentgen.report.html.balance import ClassShare, LabelBalance
from dentgen.report.html.counts import Summary, read_summary
from dentgen.report.tally import Count, Distribution
from tests.report.fake_builds import fake_build, written


def summary_of(out: Path, shades: str, **fields: Any) -> Summary:
    """A summary of one record per letter, whose shade it is."""
    samples = [
        written(number, **{"attributes": {"shade": shade}, "split": "train", "light_level": 40, **fields})
        for number, shade in enumerate(shades)
    ]
    return read_summary(str(out), fake_build(out, samples))


def balance_of(**classes: int) -> LabelBalance:
    shares = tuple(ClassShare(name, pixels, 1) for name, pixels in classes.items())
    return LabelBalance(1, 1, sum(classes.values()), shares, (), None, None)


def test_distance_is_the_share_that_would_have_to_change(tmp_path: Path) -> None:
    first, second = summary_of(tmp_path / "a", "xxyz"), summary_of(tmp_path / "b", "xyyw")
    shared = compare_distributions(first, second)
    assert [one.title for one in shared] == ["Shade", "Split", "Mean lighting level"]
    assert shared[0].distance == pytest.approx(0.5)
    pairs = {pair.label: (pair.first, pair.second) for pair in shared[0].pairs}
    assert pairs == {"x": (0.5, 0.25), "y": (0.25, 0.5), "z": (0.25, 0.0), "w": (0.0, 0.25)}
    assert shared[1].distance == 0


def test_an_attribute_of_one_build_alone_is_compared_with_nothing(tmp_path: Path) -> None:
    shared = compare_distributions(summary_of(tmp_path / "a", "x"), summary_of(tmp_path / "b", "x", attributes={}))
    assert shared[0].title == "Shade"
    assert shared[0].pairs == (SharePair("x", 1.0, 0.0),)


def test_teeth_do_not_exclude_each_other(tmp_path: Path) -> None:
    found = compare_teeth(
        summary_of(tmp_path / "a", "xx", teeth=(11, 36)), summary_of(tmp_path / "b", "xx", teeth=(11,))
    )
    assert found is not None
    assert {pair.label: pair.change for pair in found.pairs} == {"11": 0.0, "36": -1.0}
    assert found.distance == 1.0
    none = summary_of(tmp_path / "c", "x", teeth=())
    assert compare_teeth(none, none) is None


def test_labels_are_compared_by_pixels() -> None:
    (found,) = compare_labels(balance_of(background=75, tooth=25), balance_of(background=5, tooth=5))
    assert found.distance == pytest.approx(0.25)
    assert found.largest == 0.75


def test_values_that_are_not_listed_count_as_others() -> None:
    sizes = Distribution("Teeth by their area in the picture", (Count("1-2 %", 3),), 4, more_values=2, more_samples=1)
    found = compare_labels(LabelBalance(1, 1, 1, (), (), sizes, None), LabelBalance(1, 1, 1, (), (), None, None))
    assert found[0].pairs == (SharePair("1-2 %", 0.75, 0.0), SharePair("others", 0.25, 0.0))
