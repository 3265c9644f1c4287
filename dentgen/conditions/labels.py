"""Label maps: classes, their colours, FDI numbers, and what a mirror does to them.

Refuses to know files and models.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

BACKGROUND, GINGIVA, TOOTH, SOFT_TISSUE, RESTORATION, APPLIANCE, IGNORE = 0, 1, 2, 3, 4, 5, 255
SEG_CLASSES: Final[dict[int, str]] = {
    BACKGROUND: "background",
    GINGIVA: "gingiva",
    TOOTH: "tooth",
    SOFT_TISSUE: "other soft tissue",
    RESTORATION: "restoration",
    APPLIANCE: "appliance",
    IGNORE: "ignore",
}
BACKGROUND_RGB, GUM_RGB, TOOTH_RGB = (59, 59, 59), (202, 71, 47), (198, 193, 119)

#: Colour of every class value in a segmentation image. Models know three colours: a restoration is drawn as the tooth
#: that it belongs to, everything else that is not gum as background.
SEG_PALETTE: Final[NDArray[np.uint8]] = np.tile(np.array(BACKGROUND_RGB, np.uint8), (256, 1))
SEG_PALETTE[GINGIVA] = GUM_RGB
SEG_PALETTE[[TOOTH, RESTORATION]] = TOOTH_RGB

#: Permanent (11-48) and deciduous (51-85) FDI numbers.
FDI_NUMBERS: Final = frozenset(
    [10 * quadrant + tooth for quadrant in (1, 2, 3, 4) for tooth in range(1, 9)]
    + [10 * quadrant + tooth for quadrant in (5, 6, 7, 8) for tooth in range(1, 6)]
)

#: What label maps may hold, by member.
LABEL_VALUES: Final = {"seg.png": frozenset(SEG_CLASSES), "fdi.png": FDI_NUMBERS | {0}}

_MIRRORED_QUADRANT = {1: 2, 2: 1, 3: 4, 4: 3, 5: 6, 6: 5, 7: 8, 8: 7}
_MIRROR_FDI = np.arange(256, dtype=np.uint8)
for _fdi in FDI_NUMBERS:
    _MIRROR_FDI[_fdi] = 10 * _MIRRORED_QUADRANT[_fdi // 10] + _fdi % 10


def colour_segmentation(seg: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Class map (H, W) to palette colours (H, W, 3)."""
    return SEG_PALETTE[seg]


def mirror_fdi(fdi: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Flip an FDI map left to right; patient sides swap, so quadrants do too."""
    return _MIRROR_FDI[fdi[:, ::-1]]


def mirror_normal(normal: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Flip an encoded normal map left to right; x changes sign, "no surface" (0, 0, 0) stays."""
    flipped = normal[:, ::-1].copy()
    surface = flipped.any(-1)
    flipped[surface, 0] = 255 - flipped[surface, 0]
    return flipped
