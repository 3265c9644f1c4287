"""The quality gate: limits of figures, taken from a reference set, and what a picture fails by."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dentgen.documents.gate import FigureLimit
from dentgen.quality.picture_figures import BAD_IF_HIGH, BAD_IF_LOW
from dentgen.records import FIGURES, FigureName

#: Halvings of the interval in which the share of a figure's tail is looked for.
_HALVINGS: Final = 40
#: A copy differs by some bits of its hash of 256; variants of one record by more.
OWN_LIMITS: Final[Mapping[FigureName, FigureLimit]] = {"distinct": FigureLimit(least=0.03)}
#: Limits have four digits behind the point.
_DIGITS: Final = 10_000


def passes(limit: FigureLimit, value: float) -> bool:
    """Whether a value is within a limit; NaN is, because there was nothing to compare."""
    return bool(_within(np.array([value]), limit)[0])


def limit_text(limit: FigureLimit) -> str:
    """Words for a message."""
    ends = [f"at least {limit.least:g}" if limit.least is not None else ""]
    ends.append(f"at most {limit.most:g}" if limit.most is not None else "")
    return " and ".join(filter(None, ends))


def failures(values: Mapping[FigureName, float], limits: Mapping[FigureName, FigureLimit]) -> tuple[FigureName, ...]:
    """Figures that are outside their limits, in the order of the limits."""
    return tuple(name for name, limit in limits.items() if name in values and not passes(limit, values[name]))


def reference_limits(
    reference: Mapping[FigureName, NDArray[np.float64]], lose: float, fixed: Mapping[FigureName, FigureLimit | None]
) -> dict[FigureName, FigureLimit]:
    """Limits that a share of the reference set is outside of, all figures taken together.

    Every figure gives the same share of its tail, or of both tails together; ``distinct``, which depends on how many
    variants of a record stand beside each other too, has a limit of its own.

    Args:
        reference: (n,) values by figure, of the same n pictures.
        lose: The share, 0..1, of the pictures that fail some limit, at most.
        fixed: Limits that are given; None for figures that are not to count.

    Returns:
        Limits by figure, rounded to four digits.
    """
    fixed = {**OWN_LIMITS, **fixed}
    free = {name: values for name, values in reference.items() if name not in fixed}
    low, high = 0.0, min(lose, 0.5)
    for _ in range(_HALVINGS if free and lose > 0 else 0):
        tail = (low + high) / 2
        low, high = (tail, high) if lost_share(free, _tails(free, tail)) <= lose else (low, tail)
    limits = {**_tails(free, low), **{name: limit for name, limit in fixed.items() if limit is not None}}
    return {name: limits[name] for name in FIGURES if name in limits}


def standing(
    values: Mapping[FigureName, NDArray[np.float64]], reference: Mapping[FigureName, NDArray[np.float64]]
) -> NDArray[np.float64]:  # fmt: skip
    """How far inside the reference pictures stand, by the figure in which each is worst.

    Args:
        values: (n,) values by figure, of the same n pictures.
        reference: (m,) values by figure; ``distinct`` does not count, as in ``reference_limits``.

    Returns:
        (n,) in 0..1: the share of a figure's tail, or of both, that a limit would have to give up for the picture to
        fail; 0 for one outside of all of the reference.
    """
    found = [_tail_share(name, values[name], reference[name]) for name in reference if name not in OWN_LIMITS]
    return np.min(found, 0)


def lost_share(reference: Mapping[FigureName, NDArray[np.float64]], limits: Mapping[FigureName, FigureLimit]) -> float:
    """Share of pictures (0..1) that fail some limit."""
    if not reference:
        return 0.0
    outside = [~_within(reference[name], limit) for name, limit in limits.items() if name in reference]
    return float(np.any(outside, 0).mean()) if outside else 0.0


def _within(values: NDArray[np.float64], limit: FigureLimit) -> NDArray[np.bool_]:
    least = -np.inf if limit.least is None else limit.least
    most = np.inf if limit.most is None else limit.most
    return np.isnan(values) | ((values >= least) & (values <= most))


def _tail_share(
    name: FigureName, values: NDArray[np.float64], reference: NDArray[np.float64]
) -> NDArray[np.float64]:  # fmt: skip
    """Share of the reference that is at least as bad, (n,); 1 where there is nothing to compare."""
    known = np.sort(reference[~np.isnan(reference)])
    if not len(known):
        return np.ones(len(values))
    below = np.searchsorted(known, values, "right") / len(known)
    above = 1 - np.searchsorted(known, values, "left") / len(known)
    worse = below if name in BAD_IF_LOW else above if name in BAD_IF_HIGH else 2 * np.minimum(below, above)
    shares: NDArray[np.float64] = np.where(np.isnan(values), 1, np.minimum(worse, 1))
    return shares


def _tails(reference: Mapping[FigureName, NDArray[np.float64]], tail: float) -> dict[FigureName, FigureLimit]:
    """Limits that a share of the values of every figure is outside of, rounded away from the values within."""
    limits = {}
    for name, values in reference.items():
        known = values[~np.isnan(values)]
        if len(known):
            share = tail if name in BAD_IF_LOW or name in BAD_IF_HIGH else tail / 2
            least = None if name in BAD_IF_HIGH else math.floor(np.quantile(known, share) * _DIGITS) / _DIGITS
            most = None if name in BAD_IF_LOW else math.ceil(np.quantile(known, 1 - share) * _DIGITS) / _DIGITS
            limits[name] = FigureLimit(least=least, most=most)
    return limits
