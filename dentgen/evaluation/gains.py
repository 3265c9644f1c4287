"""Gains of ways over a baseline, held against the spread over trainings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dentgen.evaluation.conditioning import REFERENCE

#: First words of figures that are better if high, and if low; of others, such as edges, neither end is good.
_UP: Final = frozenset({"miou", "tooth_recall", "boundary_f1", "light_correlation"})
_DOWN: Final = frozenset({"bleed_in", "bleed_out", "kernel_distance"})


@dataclass(frozen=True, slots=True)
class Gain:
    """Difference of one figure between two ways.

    Attributes:
        way, baseline: The way that is compared, and with which.
        figure: Name of the figure.
        difference: Its mean minus that of the baseline.
        spread: Sample standard deviation over trainings, the larger one of both ways; NaN if neither has several.
    """

    way: str
    baseline: str
    figure: str
    difference: float
    spread: float

    @property
    def verdict(self) -> str:
        """``gain``, ``loss`` or ``change`` if the difference exceeds the spread; ``within spread``, ``no spread``."""
        if np.isnan(self.spread):
            return "no spread"
        if abs(self.difference) <= self.spread:
            return "within spread"
        kind = self.figure.split(" ")[0]
        if kind not in _UP | _DOWN:
            return "change"
        return "gain" if (self.difference > 0) == (kind in _UP) else "loss"


def gains_over(by_way: Mapping[str, Mapping[str, NDArray[np.float64]]], baseline: str) -> list[Gain]:
    """Compare every way but the reference pictures with a baseline, figure by figure.

    Args:
        by_way: Values by way and figure, one per training.
        baseline: The way that the others are compared with.
    """
    usual = by_way[baseline]
    return [
        Gain(way, baseline, figure, float(runs.mean() - usual[figure].mean()), _spread(runs, usual[figure]))
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


def _spread(*ways: NDArray[np.float64]) -> float:
    known = [float(runs.std(ddof=1)) for runs in ways if len(runs) > 1]
    return max(known) if known else float("nan")
