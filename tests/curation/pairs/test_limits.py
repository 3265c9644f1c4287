"""Limits: which figure a panel is rejected for, with value and threshold."""

from __future__ import annotations

import math

from dentgen.curation.pairs.limits import PANEL_FIGURES, PairLimits, PanelFigure, Rejection, rejection


def test_every_figure_has_a_limit() -> None:
    assert all(PairLimits().interval(name) != (-math.inf, math.inf) for name in PANEL_FIGURES)


def test_the_first_failing_figure_is_the_reason() -> None:
    limits = PairLimits(least_miou=0.6, least_identity=0.5)
    figures: dict[PanelFigure, float] = {"identity": 0.1, "miou": 0.3, "luminance": 0.4}
    assert rejection(figures, limits, ("luminance", "miou", "identity")) == Rejection("miou", 0.3, 0.6)
    assert rejection(figures, limits, ("luminance",)) is None


def test_the_threshold_is_the_limit_that_is_missed() -> None:
    limits = PairLimits(least_luminance=0.1, most_luminance=0.7)
    assert rejection({"luminance": 0.9}, limits, ("luminance",)) == Rejection("luminance", 0.9, 0.7)
    assert rejection({"luminance": 0.0}, limits, ("luminance",)) == Rejection("luminance", 0.0, 0.1)


def test_limits_themselves_pass_and_nothing_to_compare_does_not() -> None:
    limits = PairLimits(least_miou=0.6)
    assert rejection({"miou": 0.6}, limits, ("miou",)) is None
    assert rejection({"miou": math.nan}, limits, ("miou",)) == Rejection("miou", None, 0.6)
    assert rejection({}, limits, ("miou",)) is None
