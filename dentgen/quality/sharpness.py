"""Image sharpness (high-frequency energy) and structural similarity."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dentgen.quality.metrics import luminance

#: Cutoff, cycles per pixel: wavelengths below four pixels.
_CUT: Final = 0.25
_SSIM_SIGMA: Final = 1.5
_SSIM_RADIUS: Final = 5


def high_frequency_energy(pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Energy at wavelengths below four pixels.

    Luminance is multiplied by a Hann window first, so that the jump across the image border does not count as detail.

    Args:
        pictures: (n, H, W, 3) sRGB uint8.

    Returns:
        (n,) mean square of the high-frequency part of the windowed linear luminance.
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
    """SSIM of grey levels, per image (Wang et al. 2004, https://doi.org/10.1109/TIP.2003.819861).

    Args:
        pictures: (n, H, W, 3) uint8, at least 11 x 11 pixels.
        others: (n, H, W, 3) uint8 images to compare with.

    Returns:
        (n,) means over all Gaussian windows of 11 x 11 pixels inside the image; 1 for equal images.
    """
    pairs = zip(_grey(pictures), _grey(others), strict=True)
    return np.array([_similarity(x, y) for x, y in pairs])


def _grey(pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
    grey: NDArray[np.float64] = pictures.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    return grey


def _similarity(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean_x, mean_y = _blurred(x), _blurred(y)
    var_x, var_y = _blurred(x * x) - mean_x**2, _blurred(y * y) - mean_y**2
    covariance = _blurred(x * y) - mean_x * mean_y
    numerator = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    denominator = (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    inside = slice(_SSIM_RADIUS, -_SSIM_RADIUS)  # centres of windows that lie within the image
    return float((numerator / denominator)[inside, inside].mean())


def _blurred(values: NDArray[np.float64]) -> NDArray[np.float64]:
    blurred: NDArray[np.float64] = ndimage.gaussian_filter(values, _SSIM_SIGMA, radius=_SSIM_RADIUS)
    return blurred
