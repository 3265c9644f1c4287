"""Motion of a frame: where each of its pixels lies in the first frame of its series, as two 16-bit grey maps."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from dentgen.conditions.images import StoredImage, depth_levels
from dentgen.errors import ConditionError

#: A level is this fraction of a pixel.
LEVELS_PER_PIXEL: Final = 64
#: Level of a pixel that does not move; levels below 1 and above 65535 cannot be stored.
STILL: Final = 32768
#: Level of a pixel that is hidden in the first frame, or shows no surface.
HIDDEN: Final = 0


def motion_levels(motion: NDArray[np.float32]) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Encode a motion, as KITTI's optical flow is encoded but for the scale of hidden pixels.

    Args:
        motion: (H, W, 2) from each pixel of the frame to its place in the first frame, pixels right and down; NaN where
            that is hidden. Longer ones than half a thousand pixels are stored as hidden.

    Returns:
        (H, W) uint16 levels right and down: ``STILL`` plus ``LEVELS_PER_PIXEL`` times the pixels, 0 where hidden.
    """
    levels = np.rint(motion.astype(np.float64) * LEVELS_PER_PIXEL) + STILL
    with np.errstate(invalid="ignore"):
        stored = ((levels > HIDDEN) & (levels <= np.iinfo(np.uint16).max)).all(-1)
    right, down = (np.where(stored, levels[..., axis], HIDDEN).astype(np.uint16) for axis in (0, 1))
    return right, down


def motion_of(right: NDArray[np.uint16], down: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Decode a motion; the inverse of ``motion_levels``, (H, W, 2) float32."""
    levels = np.stack([right, down], -1).astype(np.float32)
    motion: NDArray[np.float32] = (levels - np.float32(STILL)) / np.float32(LEVELS_PER_PIXEL)
    motion[(right == HIDDEN) | (down == HIDDEN)] = np.nan
    return motion


def read_motion(right: StoredImage, down: StoredImage) -> NDArray[np.float32]:
    """The motion (H, W, 2) that two images store.

    Raises:
        ConditionError: If they are not grey of 16 bits, or differ in size.
    """
    levels = [depth_levels(image) for image in (right, down)]
    if any(image.bits != 16 for image in (right, down)):  # fewer would be scaled, and mean another motion
        raise next(image for image in (right, down) if image.bits != 16).refused("16-bit grey (mode I;16)")
    if levels[0].shape != levels[1].shape:
        raise ConditionError(down.place, f"size {levels[1].shape}", f"{levels[0].shape}, as of {right.place}")
    return motion_of(*levels)
