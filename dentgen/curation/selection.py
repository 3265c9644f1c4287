"""Choosing samples: greedy k-centre in feature space, or at random, with or without equal shares of some values.

Both are one sequence that does not depend on how many are asked for: a selection of K is the beginning of one of K + 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dentgen.seeding import derive_seed

#: Values of features that are compared at a time.
_BLOCK: Final = 2**22

_Indexes = NDArray[np.int64]


def k_centre(
    values: NDArray[np.float32], count: int, keys: Sequence[str], groups: Sequence[str] | None = None
) -> _Indexes:  # fmt: skip
    """Choose by greedy k-centre (Gonzalez 1985): the nearest to the mean, then always the farthest from all chosen.

    Equals are decided by key, so the order of the samples does not matter. With groups, every choice is made among the
    groups that have fewest so far: shares stay equal as far as groups reach, and what remains is filled by the rule.
    Takes time n x count x d, and memory for one number a sample beside the features.

    Args:
        values: (n, d) features.
        count: How many, 0..n.
        keys: n distinct keys.
        groups: n values whose shares are to be equal; None for no balance.

    Returns:
        (count,) distinct positions, in the order in which they were chosen.
    """
    order = np.argsort(np.array(keys, object), kind="stable")
    values, shares = values[order], _Shares(groups, order)
    free = np.ones(len(order), np.bool_)
    gain = -_distances(values, values.mean(0)) if len(order) else np.empty(0)
    chosen = list[int]()
    while len(chosen) < count:
        best = int(np.argmax(np.where(free & shares.permitted(), gain, -np.inf)))
        distances = _distances(values, values[best])
        gain = np.minimum(gain, distances) if chosen else distances
        free[best] = False
        shares.take(best)
        chosen.append(best)
    return order[np.array(chosen, np.int64)]


def at_random(count: int, keys: Sequence[str], seed: int, groups: Sequence[str] | None = None) -> _Indexes:
    """Choose at random: what a key draws depends on it and the seed alone.

    With groups, as in ``k_centre``, shares stay equal as far as groups reach.

    Args:
        count: How many, 0..n.
        keys: n distinct keys.
        seed: Names the draw.
        groups: n values whose shares are to be equal; None for no balance.

    Returns:
        (count,) distinct positions, in the order in which they were drawn.
    """
    drawn = np.array([derive_seed(seed, "selection", key) for key in keys], np.int64)
    order = np.argsort(drawn, kind="stable")
    if groups is not None:
        order = order[np.argsort(_turns(np.array(groups, object)[order]), kind="stable")]
    return order[:count]


class _Shares:
    """How many of every group were chosen, and are left."""

    def __init__(self, groups: Sequence[str] | None, order: _Indexes) -> None:
        names = np.zeros(len(order), np.int64) if groups is None else np.array(groups, object)[order]
        _, self._groups = np.unique(names, return_inverse=True)
        self._left = np.bincount(self._groups)
        self._taken = np.zeros_like(self._left)

    def permitted(self) -> NDArray[np.bool_]:
        """Samples of the groups that have fewest, of those with samples left."""
        least = self._taken[self._left > 0].min()
        permitted: NDArray[np.bool_] = ((self._left > 0) & (self._taken == least))[self._groups]
        return permitted

    def take(self, index: int) -> None:
        """Count a choice."""
        self._taken[self._groups[index]] += 1
        self._left[self._groups[index]] -= 1


def _turns(groups: NDArray[np.object_]) -> _Indexes:
    """How many of its group come before each, (n,)."""
    _, numbers = np.unique(groups, return_inverse=True)
    order = np.argsort(numbers, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(numbers))])
    turns = np.empty(len(groups), np.int64)
    turns[order] = np.arange(len(groups)) - starts[numbers[order]]
    return turns


def _distances(values: NDArray[np.float32], centre: NDArray[np.float32]) -> NDArray[np.float64]:
    """Euclidean distances (n,) of rows from a centre (d,), block by block."""
    rows = max(1, _BLOCK // max(1, values.shape[1]))
    parts = [
        np.sqrt(np.square(values[start : start + rows] - centre).sum(1, dtype=np.float64))
        for start in range(0, len(values), rows)
    ]
    return np.concatenate(parts)
