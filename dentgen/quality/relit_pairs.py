"""How alike two pictures of one mouth are but for the light: identity free of illumination, and difference of light."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dentgen.conditions.labels import TOOTH
from dentgen.quality.metrics import luminance
from dentgen.quality.srgb import to_linear

#: Image size, pixels, for which lengths are given.
_EDGE: Final = 128
#: Standard deviation of the blur that stands for the illumination.
_BLUR: Final = 4.0
#: Distance from the outlines of teeth, which are alike in all pictures of one label map.
_MARGIN: Final = 2.0
#: Added to linear values, so that noise of dark pixels does not decide their logarithm.
_FLOOR: Final = 0.01
#: Fewer pixels say nothing.
_LEAST_PIXELS: Final = 64


@dataclass(frozen=True, slots=True, eq=False)
class TeethLook:
    """What a picture shows within teeth, apart as surface and light.

    Attributes:
        surface: (n, 3) logarithm of red, green and blue over the blurred luminance, mean 0 per channel: free of the
            colour, strength and slow changes of the light.
        light: (n,) blurred luminance, linear, 0..1.
    """

    surface: NDArray[np.float64]
    light: NDArray[np.float64]

    @property
    def is_empty(self) -> bool:
        """Whether there are too few pixels to compare."""
        return len(self.light) < _LEAST_PIXELS


def inner_teeth(tissues: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Pixels (H, W) of teeth that are away from their outline.

    Args:
        tissues: (H, W) tissue classes.
    """
    scale = min(tissues.shape) / _EDGE
    inner: NDArray[np.bool_] = ndimage.distance_transform_edt(tissues == TOOTH) > _MARGIN * scale
    return inner


def teeth_look(picture: NDArray[np.uint8], inside: NDArray[np.bool_]) -> TeethLook:
    """Part a picture into surface and light: the retinex of Land and McCann (1971), with a Gaussian as its surround.

    Args:
        picture: (H, W, 3) sRGB uint8.
        inside: (H, W) pixels to look at.
    """
    scale = min(inside.shape) / _EDGE
    light = _blurred(luminance(picture), inside, _BLUR * scale)[inside]
    values = to_linear(picture[inside].astype(np.float64) / 255)
    surface = np.log(values + _FLOOR) - np.log(light + _FLOOR)[:, None]
    return TeethLook(surface - surface.mean(0) if len(surface) else surface, light)


def identity(one: TeethLook, other: TeethLook) -> float:
    """Correlation, -1..1, of two surfaces of the same pixels; NaN if one is flat or there are too few pixels."""
    if one.is_empty or other.is_empty:
        return float("nan")
    a, b = one.surface.ravel(), other.surface.ravel()
    norm = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / norm if norm > 0 else float("nan")


def light_difference(one: TeethLook, other: TeethLook) -> float:
    """Mean absolute difference of two lights, 0..1, pixel by pixel: light from another side counts at equal means."""
    if one.is_empty or other.is_empty:
        return float("nan")
    return float(np.abs(one.light - other.light).mean())


def _blurred(values: NDArray[np.float64], inside: NDArray[np.bool_], sigma: float) -> NDArray[np.float64]:
    """Gaussian mean over the pixels of the mask alone."""
    weights = ndimage.gaussian_filter(inside.astype(np.float64), sigma)
    sums = ndimage.gaussian_filter(np.where(inside, values, 0.0), sigma)
    blurred: NDArray[np.float64] = sums / np.maximum(weights, 1e-9)
    return blurred
