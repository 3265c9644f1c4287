"""Kernel distance between two sets of image features (KID with the features of any network)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def kernel_distance(pictures: NDArray[np.float64], reference: NDArray[np.float64], basis: NDArray[np.float64]) -> float:
    """Unbiased estimate of the squared maximum mean discrepancy under a cubic kernel.

    This is the KID of Binkowski et al. 2018 (https://arxiv.org/abs/1801.01401), but for standardised features of any
    network instead of Inception's; values are comparable only between sets of features from the same network. For equal
    distributions the estimate is zero on average and may be negative. The sets must be independent: images of the same
    records in both would lower it.

    Args:
        pictures: Features (n, d), n >= 2.
        reference: Features (m, d), m >= 2.
        basis: Features (k, d) whose means and standard deviations standardise both sets, so that no feature dominates.
            Use one basis for all comparisons, and none of the compared sets, which would bias the estimate.

    Returns:
        Mean of k over pairs within each set minus twice the mean over pairs across, k(x, y) = (x y / d + 1)^3.
    """
    spread = basis.std(0)
    unit = np.where(spread > 0, spread, 1.0)
    x, y = (pictures - basis.mean(0)) / unit, (reference - basis.mean(0)) / unit
    return _within(x) + _within(y) - 2 * float(_kernel(x, y).mean())


def _kernel(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    return (x @ y.T / x.shape[1] + 1) ** 3


def _within(x: NDArray[np.float64]) -> float:
    """Mean of the kernel over pairs of different rows."""
    kernel = _kernel(x, x)
    return float((kernel.sum() - np.trace(kernel)) / (len(x) * (len(x) - 1)))
