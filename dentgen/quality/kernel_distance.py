"""How far apart two sets of pictures are, by what a network sees in them. Refuses to know which network and why."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def kernel_distance(pictures: NDArray[np.float64], reference: NDArray[np.float64], basis: NDArray[np.float64]) -> float:
    """Squared maximum mean discrepancy under a cubic kernel, unbiased: the KID of Binkowski et al. 2018.

    Their features are Inception's; ours are a judge's, so figures compare only with figures of the same judge. The
    estimate of equal distributions is zero on average and may be negative. The sets must be independent: pictures of
    the same records in both would pull it down.

    Args:
        pictures: Features (n, d), at least two.
        reference: Features (m, d), at least two.
        basis: Features (k, d) whose means and standard deviations are taken out of both sets, so that none drowns the
            others. The same for all sets that are compared: taken from one of them, they would bias the estimate.

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
    """Mean over pairs of different members."""
    kernel = _kernel(x, x)
    return float((kernel.sum() - np.trace(kernel)) / (len(x) * (len(x) - 1)))
