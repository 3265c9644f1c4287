"""The kernel distance against a loop over pairs, and its laws."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from dentgen.quality.kernel_distance import kernel_distance


def brute_distance(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Pair by pair, on features that are already scaled."""

    def k(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
        return (sum(float(p) * float(q) for p, q in zip(a, b, strict=True)) / len(a) + 1) ** 3

    within = [np.mean([k(a, b) for i, a in enumerate(s) for j, b in enumerate(s) if i != j]) for s in (x, y)]
    return float(sum(within) - 2 * np.mean([k(a, b) for a in x for b in y]))


def test_pair_by_pair() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(1, 2, (7, 5)), rng.normal(0, 3, (9, 5))
    middle, unit = y[:4].mean(0), y[:4].std(0)
    assert kernel_distance(x, y, y[:4]) == pytest.approx(brute_distance((x - middle) / unit, (y - middle) / unit))


def test_equal_distributions_are_about_zero_apart_and_on_both_sides_of_it() -> None:
    rng = np.random.default_rng(1)
    basis = rng.normal(size=(40, 8))
    found = np.array([kernel_distance(rng.normal(size=(40, 8)), rng.normal(size=(40, 8)), basis) for _ in range(200)])
    error = found.std() / np.sqrt(len(found))
    assert abs(found.mean()) < 3 * error + 0.01
    assert (found < 0).any()
    assert (found > 0).any()


def test_halves_of_one_set_are_about_zero_apart_on_average() -> None:
    """Over many halves every pair falls within as often as across; a basis from one half would break that."""
    rng = np.random.default_rng(5)
    everything = rng.normal(size=(24, 6))
    orders = [rng.permutation(24) for _ in range(400)]
    found = np.array([kernel_distance(everything[o[:12]], everything[o[12:]], everything) for o in orders])
    assert abs(found.mean()) < 4 * found.std() / np.sqrt(len(found))


@pytest.mark.parametrize("change", ["shift", "spread", "mixture"])
def test_other_distributions_are_apart(change: str) -> None:
    """A mixture of the same mean and variance differs in its third moment alone, which a cubic kernel sees."""
    rng = np.random.default_rng(2)
    y = rng.normal(size=(300, 4))
    match change:
        case "shift":
            x = rng.normal(size=(300, 4)) + 0.5
        case "spread":
            x = rng.normal(size=(300, 4)) * 2
        case _:
            x = rng.exponential(size=(300, 4)) - 1
    same = np.array([kernel_distance(rng.normal(size=(300, 4)), y, y) for _ in range(20)])
    assert kernel_distance(x, y, y) > same.max()
    assert kernel_distance(x, y, y) > 0


def test_scale_of_features_makes_no_difference() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(20, 3)), rng.normal(size=(30, 3))
    factor, offset = np.array([1.0, 1e4, 1e-3]), np.array([0.0, 5.0, 1e3])
    changed = y * factor + offset
    assert kernel_distance(x * factor + offset, changed, changed) == pytest.approx(kernel_distance(x, y, y))


def test_a_constant_feature_is_no_division_by_zero() -> None:
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(20, 3)), rng.normal(size=(30, 3))
    x[:, 1] = y[:, 1] = 2
    assert np.isfinite(kernel_distance(x, y, y))
