"""Texture: how much fine detail pictures have, and how alike two pictures are. Arrays in, numbers out.

Refuses to know models and files.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dentgen.quality.metrics import luminance

#: Fine detail: waves shorter than four pixels.
_CUT: Final = 0.25
_SSIM_SIGMA: Final = 1.5
_SSIM_RADIUS: Final = 5


def high_frequency_energy(pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Energy of waves shorter than four pixels in pictures (n, H, W, 3): mean square of that part of luminance, (n,).

    Luminance is multiplied by a Hann window first, so that the picture's border is no detail.
    """
    values = luminance(pictures)
    height, width = values.shape[1:]
    window = np.hanning(height)[:, None] * np.hanning(width)[None]
    centred = (values - values.mean((1, 2), keepdims=True)) * window
    spectrum = np.abs(np.fft.fft2(centred)) ** 2 / (height * width) ** 2
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None])
    energy: NDArray[np.float64] = spectrum[:, frequency > _CUT].sum(1)
    return energy


def structural_similarity(pictures: NDArray[np.uint8], others: NDArray[np.uint8]) -> NDArray[np.float64]:
    """SSIM of grey levels, (n,): Gaussian windows of 11 pixels (Wang et al. 2004, https://doi.org/10.1109/TIP.2003.819861).

    Args:
        pictures: (n, H, W, 3), as are ``others``.
        others: What they are compared with, one by one.
    """
    pairs = zip(_grey(pictures), _grey(others), strict=True)
    return np.array([_similarity(one, other) for one, other in pairs])


def _grey(pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
    grey: NDArray[np.float64] = pictures.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    return grey


def _similarity(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean_x, mean_y = _blurred(x), _blurred(y)
    var_x, var_y = _blurred(x * x) - mean_x**2, _blurred(y * y) - mean_y**2
    covariance = _blurred(x * y) - mean_x * mean_y
    above = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    below = (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    inside = slice(_SSIM_RADIUS, -_SSIM_RADIUS)  # windows that lie within the picture
    return float((above / below)[inside, inside].mean())


def _blurred(values: NDArray[np.float64]) -> NDArray[np.float64]:
    blurred: NDArray[np.float64] = ndimage.gaussian_filter(values, _SSIM_SIGMA, radius=_SSIM_RADIUS)
    return blurred
