"""Blur of what lies before or behind the teeth that a camera is focused on."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from dentgen.phantom.anatomy import FloatArray

#: Depth on either side of the focused distance that stays sharp, mm.
_SHARP_MM: Final = 2.0
#: Blurs between which every pixel is interpolated, sigma, pixels at 256.
_LEVELS: Final = (0.0, 0.8, 1.6, 3.2, 6.4)
#: How far what is out of focus before the teeth spreads over them, sigma, pixels at 256.
_SPREAD: Final = 2.0
#: Weight of a pixel in focus in a blur.
_SHARP_WEIGHT: Final = 1e-3


def defocused(image: FloatArray, depth_mm: FloatArray, focused: NDArray[np.bool_], blur_px_per_mm: float) -> FloatArray:
    """Blur a picture by depth.

    What is in focus keeps its edge and sheds no light on a blurred ground; what is blurred before it spreads over it.

    Args:
        image: (H, W, 3) linear light.
        depth_mm: (H, W) distance along the view axis; infinite where nothing was hit.
        focused: (H, W) the pixels whose median depth the lens is focused on; none of them leaves the picture as it is.
        blur_px_per_mm: Sigma of the blur, pixels at 256, for each mm out of focus.
    """
    if not blur_px_per_mm or not focused.any():
        return image
    scale = len(image) / 256
    away = np.nan_to_num(depth_mm, posinf=1e6) - np.median(depth_mm[focused])
    own = np.clip((np.abs(away) - _SHARP_MM) * blur_px_per_mm, 0, _LEVELS[-1])
    wanted = np.maximum(own, gaussian_filter(np.where(away < 0, own, 0.0), _SPREAD * scale))
    levels = [image, *(_blurred(image, wanted, sigma, scale) for sigma in _LEVELS[1:])]
    place = np.interp(wanted, _LEVELS, np.arange(len(_LEVELS)))[..., None]
    result: FloatArray = sum(
        (np.clip(1 - np.abs(place - number), 0, 1) * level for number, level in enumerate(levels)),
        start=np.zeros_like(image),
    )
    return result


def _blurred(image: FloatArray, wanted: FloatArray, sigma: float, scale: float) -> FloatArray:
    """The picture (H, W, 3) blurred among pixels that are out of focus themselves (normalised convolution)."""
    weight = np.clip(wanted / sigma, _SHARP_WEIGHT, 1)[..., None]
    radius = (sigma * scale, sigma * scale, 0)
    blurred: FloatArray = gaussian_filter(image * weight, radius) / gaussian_filter(weight, radius)
    return blurred
