"""Kernel distance against a loop over pairs, and its statistical properties."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from dentgen.quality.kernel_distance import kernel_distance


def brute_distance(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Sum over pairs, on features that are already standardised."""

    def k(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
        return (sum(float(p) * float(q) for p, q in zip(a, b, strict=True)) / len(a) + 1) ** 3

    within = [np.mean([k(a, b) for i, a in enumerate(s) for j, b in enumerate(s) if i != j]) for s in (x, y)]
    return float(sum(within) - 2 * np.mean([k(a, b) for a in x for b in y]))


def test_distance_matches_a_loop_over_pairs() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(1, 2, (7, 5)), rng.normal(0, 3, (9, 5))
    mean, std = y[:4].mean(0), y[:4].std(0)
    assert kernel_distance(x, y, y[:4]) == pytest.approx(brute_distance((x - mean) / std, (y - mean) / std))


def test_estimate_of_equal_distributions_is_zero_on_average() -> None:
    """With either sign."""
    rng = np.random.default_rng(1)
    basis = rng.normal(size=(40, 8))
    samples = [kernel_distance(rng.normal(size=(40, 8)), rng.normal(size=(40, 8)), basis) for _ in range(200)]
    assert abs(np.mean(samples)) < 3 * np.std(samples) / np.sqrt(len(samples)) + 0.01
    assert min(samples) < 0 < max(samples)


def test_estimate_between_halves_of_one_set_is_zero_on_average() -> None:
    """Over random halves every pair falls within as often as across; a basis from one half would bias that."""
    rng = np.random.default_rng(5)
    everything = rng.normal(size=(24, 6))
    orders = [rng.permutation(24) for _ in range(400)]
    samples = [kernel_distance(everything[o[:12]], everything[o[12:]], everything) for o in orders]
    assert abs(np.mean(samples)) < 4 * np.std(samples) / np.sqrt(len(samples))


@pytest.mark.parametrize("change", ["shift", "spread", "skew"])
def test_different_distributions_are_told_apart(change: str) -> None:
    """Skew at the same mean and variance shows only in the third moment, which a cubic kernel includes."""
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


def test_distance_is_invariant_to_the_scale_of_features() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(20, 3)), rng.normal(size=(30, 3))
    factor, offset = np.array([1.0, 1e4, 1e-3]), np.array([0.0, 5.0, 1e3])
    changed = y * factor + offset
    assert kernel_distance(x * factor + offset, changed, changed) == pytest.approx(kernel_distance(x, y, y))


def test_constant_feature_has_no_effect() -> None:
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(20, 3)), rng.normal(size=(30, 3))
    x[:, 1] = y[:, 1] = 2
    mean, std = y.mean(0), np.array([y[:, 0].std(), 1, y[:, 2].std()])
    assert kernel_distance(x, y, y) == pytest.approx(brute_distance((x - mean) / std, (y - mean) / std))
