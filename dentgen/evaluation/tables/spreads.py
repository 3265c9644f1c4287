"""Means and spreads over seeds, and which candidate leads by more than the spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite, nan
from typing import Literal

import numpy as np

#: What is good: much, little, near 1, or neither.
Goal = Literal["high", "low", "one", "none"]


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over seeds.

    Attributes:
        values: One per seed.
        mean: Their mean.
        deviation: Their sample standard deviation; NaN for a single one.
    """

    values: tuple[float, ...]
    mean: float
    deviation: float


def spread(values: Sequence[float]) -> Spread:
    """Mean and sample standard deviation of one value or more; NaN where a value is."""
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else nan
    return Spread(tuple(values), float(np.mean(values)), deviation)


def larger_spread(one: Spread, other: Spread) -> float:
    """What a difference of two means has to exceed: the larger deviation, infinite if one of them is not known."""
    deviations = (one.deviation, other.deviation)
    return max(deviations) if all(isfinite(each) for each in deviations) else inf


def leader(figures: Mapping[str, Spread], goal: Goal) -> str | None:
    """Name the candidate whose lead over every other one exceeds the spread of both.

    Args:
        figures: One figure of every candidate.
        goal: What is good.

    Returns:
        The best candidate; None if another one is within the larger of the two standard deviations, if a spread is
        unknown, or if neither much nor little is good.
    """
    losses = {name: _loss(figure.mean, goal) for name, figure in figures.items()}
    if goal == "none" or len(figures) < 2 or not all(isfinite(loss) for loss in losses.values()):
        return None
    best = min(losses, key=lambda name: losses[name])
    others = [name for name in figures if name != best]
    ahead = (losses[name] - losses[best] > larger_spread(figures[name], figures[best]) for name in others)
    return best if all(ahead) else None


def _loss(mean: float, goal: Goal) -> float:
    match goal:
        case "high":
            return -mean
        case "one":
            return abs(mean - 1)
        case _:
            return mean
