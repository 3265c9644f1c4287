"""Gains of ways over a baseline, held against the spread over trainings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from dentgen.evaluation.conditioning import REFERENCE
from dentgen.evaluation.tables.figures import GOALS
from dentgen.evaluation.tables.spreads import Spread, larger_spread, spread


@dataclass(frozen=True, slots=True)
class Gain:
    """Difference of one figure between two ways.

    Attributes:
        way, baseline: The way that is compared, and with which.
        figure: Name of the figure.
        difference: Its mean minus that of the baseline.
        spread: As ``larger_spread`` over trainings; infinite if one of both ways has a single one.
    """

    way: str
    baseline: str
    figure: str
    difference: float
    spread: float

    @property
    def verdict(self) -> str:
        """``gain``, ``loss`` or ``change`` if the difference exceeds the spread; ``within spread``, ``no spread``."""
        if not isfinite(self.spread):
            return "no spread"
        if abs(self.difference) <= self.spread:
            return "within spread"
        goal = GOALS.get(self.figure.split(" ")[0], "none")
        if goal not in {"high", "low"}:
            return "change"
        return "gain" if (self.difference > 0) == (goal == "high") else "loss"


def gains_over(by_way: Mapping[str, Mapping[str, NDArray[np.float64]]], baseline: str) -> list[Gain]:
    """Compare every way but the reference pictures with a baseline, figure by figure.

    Args:
        by_way: Values by way and figure, one per training.
        baseline: The way that the others are compared with.
    """
    usual = {figure: spread(runs.tolist()) for figure, runs in by_way[baseline].items()}
    return [
        _gain(way, baseline, figure, spread(runs.tolist()), usual[figure])
        for way, figures in by_way.items()
        if way not in {baseline, REFERENCE}
        for figure, runs in figures.items()
    ]


def gain_lines(gains: list[Gain]) -> list[str]:
    """Format as aligned text: a line per way and figure, with its verdict."""
    return [
        f"{gain.way} over {gain.baseline}: {gain.figure:22s} {gain.difference:+8.4f}  "
        f"spread {gain.spread:7.4f}  {gain.verdict}"
        for gain in gains
    ]


def gain_figures(gains: list[Gain]) -> dict[str, float]:
    """Flatten to ``WAY_NAME_gain`` and ``WAY_NAME_gain_spread``."""
    figures: dict[str, float] = {}
    for gain in gains:
        stem = f"{gain.way}_{gain.figure.replace(' ', '_')}_gain"
        figures |= {stem: gain.difference, f"{stem}_spread": gain.spread}
    return figures


def _gain(way: str, baseline: str, figure: str, found: Spread, usual: Spread) -> Gain:
    return Gain(way, baseline, figure, found.mean - usual.mean, larger_spread(found, usual))
