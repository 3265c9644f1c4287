"""Limits from a reference set, and what fails them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from dentgen.documents.gate import FigureLimit
from dentgen.quality.gate import failures, limit_text, lost_share, passes, reference_limits, standing
from dentgen.records import FigureName

Reference = dict[FigureName, NDArray[np.float64]]


def reference(count: int = 1000) -> Reference:
    rng = np.random.default_rng(7)
    return {"miou": rng.normal(0.9, 0.02, count), "shift": rng.exponential(0.5, count), "luminance": rng.random(count)}


@pytest.mark.parametrize("lose", [0.01, 0.05, 0.2])
def test_all_limits_together_lose_no_more_than_asked_and_nearly_as_much(lose: float) -> None:
    values = reference()
    lost = lost_share(values, reference_limits(values, lose, {}))
    assert lose - 0.01 <= lost <= lose


def test_every_figure_is_limited_where_it_is_bad() -> None:
    limits = reference_limits(reference(), 0.05, {})
    assert list(limits) == ["miou", "shift", "luminance", "distinct"]
    assert (limits["miou"].most, limits["shift"].least) == (None, None)
    assert limits["luminance"].least is not None
    assert limits["luminance"].most is not None


def test_nothing_is_lost_if_nothing_may_be() -> None:
    values = reference()
    assert lost_share(values, reference_limits(values, 0.0, {})) == 0


def test_given_limits_replace_those_of_the_reference_and_null_switches_off() -> None:
    limits = reference_limits(reference(), 0.05, {"miou": FigureLimit(least=0.5), "shift": None})
    assert limits["miou"] == FigureLimit(least=0.5)
    assert "shift" not in limits


def test_copies_have_a_limit_of_their_own() -> None:
    values = reference() | {"distinct": np.linspace(0, 1, 1000)}
    assert reference_limits(values, 0.2, {})["distinct"] == FigureLimit(least=0.03)
    assert reference_limits(values, 0.2, {"distinct": FigureLimit(least=0.2)})["distinct"] == FigureLimit(least=0.2)
    assert "distinct" not in reference_limits(values, 0.2, {"distinct": None})


def test_a_figure_that_was_never_measured_has_no_limit() -> None:
    values = reference() | {"tooth_recall": np.full(1000, np.nan)}
    assert "tooth_recall" not in reference_limits(values, 0.05, {})


def test_failures_are_those_outside_and_nan_passes() -> None:
    limits: dict[FigureName, FigureLimit] = {
        "miou": FigureLimit(least=0.8), "shift": FigureLimit(most=1), "luminance": FigureLimit(least=0.2, most=0.8),
    }  # fmt: skip
    assert failures({"miou": 0.8, "shift": 1.0, "luminance": 0.2}, limits) == ()
    assert failures({"miou": 0.79, "shift": 1.01, "luminance": 0.81}, limits) == ("miou", "shift", "luminance")
    assert failures({"miou": math.nan, "luminance": 0.1}, limits) == ("luminance",)
    assert passes(FigureLimit(least=1), math.nan)


def test_words_of_limits() -> None:
    assert limit_text(FigureLimit(least=0.25)) == "at least 0.25"
    assert limit_text(FigureLimit(most=3)) == "at most 3"
    assert limit_text(FigureLimit(least=0.25, most=3)) == "at least 0.25 and at most 3"


@pytest.mark.parametrize("tail", [0.02, 0.1, 0.3])
def test_a_picture_stands_as_deep_as_the_tail_that_would_take_it(tail: float) -> None:
    """Limits of one figure's tail reject exactly what stands within it, up to the rounding of limits."""
    rng = np.random.default_rng(5)
    kinds: tuple[FigureName, ...] = ("miou", "shift", "luminance")
    for name in kinds:
        reference, values = {name: rng.normal(size=4001)}, {name: rng.normal(size=500)}
        limits = reference_limits(reference, tail, {})
        rejected = np.array([bool(failures({name: float(value)}, limits)) for value in values[name]])
        assert np.abs(standing(values, reference)[rejected]).max() <= tail + 0.002
        assert standing(values, reference)[~rejected].min() >= tail - 0.002


def test_the_worst_figure_decides_and_what_cannot_be_compared_does_not() -> None:
    reference: dict[FigureName, NDArray[np.float64]] = {
        "miou": np.linspace(0, 1, 101), "shift": np.linspace(0, 1, 101), "distinct": np.ones(101),
    }  # fmt: skip
    values: dict[FigureName, NDArray[np.float64]] = {
        "miou": np.array([0.5, 0.5, np.nan, -1]), "shift": np.array([0.1, 0.9, 0.1, 0.1]), "distinct": np.zeros(4),
    }  # fmt: skip
    assert standing(values, reference) == pytest.approx([51 / 101, 11 / 101, 91 / 101, 0])
