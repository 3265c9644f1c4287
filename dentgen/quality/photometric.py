"""Random light, focus and noise with which judges learn, because models differ from the judges' pictures in these."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

#: Ends of the changes: gain of all channels and of single ones, offset (levels), blur (pixels) and noise (levels).
_GAIN, _CHANNEL_GAIN, _OFFSET, _BLUR, _NOISE = 0.3, 0.08, 16.0, 1.2, 8.0
_SHARE: Final = 0.5


def in_other_light(photo: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A photo (H, W, 3) in other light, out of focus or with noise, as generated pictures may be.

    Args:
        photo: (H, W, 3) sRGB.
        rng: Decides the changes.
    """
    gain = 1 + rng.uniform(-_GAIN, _GAIN) + rng.uniform(-_CHANNEL_GAIN, _CHANNEL_GAIN, 3)
    pixels = photo * gain + rng.uniform(-_OFFSET, _OFFSET)
    if rng.random() < _SHARE:
        pixels = ndimage.gaussian_filter(pixels, (sigma := rng.uniform(0, _BLUR), sigma, 0))
    if rng.random() < _SHARE:
        pixels = pixels + rng.normal(0, rng.uniform(0, _NOISE), pixels.shape)
    return np.clip(np.round(pixels), 0, 255).astype(np.uint8)
