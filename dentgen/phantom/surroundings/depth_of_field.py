"""Blur of what lies before or behind the teeth that a camera is focused on."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from dentgen.phantom.anatomy import FloatArray

#: Depth on either side of the focused distance that stays sharp, mm.
_SHARP_MM: Final = 2.0
#: Blurs between which every pixel is interpolated, and by how much their map is smoothed; sigma, pixels at 256.
_LEVELS: Final = (0.0, 0.8, 1.6, 3.2, 6.4)
_SMOOTHING: Final = 1.2


def defocused(image: FloatArray, depth_mm: FloatArray, focused: NDArray[np.bool_], blur_px_per_mm: float) -> FloatArray:
    """Blur a picture by depth; blurs are added up pixel by pixel, so a sharp edge before a blurred ground stays sharp.

    Args:
        image: (H, W, 3) linear light.
        depth_mm: (H, W) distance along the view axis; infinite where nothing was hit.
        focused: (H, W) the pixels whose median depth the lens is focused on; none of them leaves the picture as it is.
        blur_px_per_mm: Sigma of the blur, pixels at 256, for each mm out of focus.
    """
    if not blur_px_per_mm or not focused.any():
        return image
    scale = len(image) / 256
    away = np.abs(np.nan_to_num(depth_mm, posinf=1e6) - np.median(depth_mm[focused]))
    wanted = np.clip((away - _SHARP_MM) * blur_px_per_mm, 0, _LEVELS[-1])
    wanted = gaussian_filter(wanted, _SMOOTHING * scale)
    levels = [gaussian_filter(image, (sigma * scale, sigma * scale, 0)) for sigma in _LEVELS]
    place = np.interp(wanted, _LEVELS, np.arange(len(_LEVELS)))[..., None]
    result: FloatArray = sum(
        (np.clip(1 - np.abs(place - number), 0, 1) * level for number, level in enumerate(levels)),
        start=np.zeros_like(image),
    )
    return result
