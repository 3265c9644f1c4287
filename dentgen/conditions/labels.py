"""Label maps: classes, palette colours, FDI tooth numbers, and left-right mirroring of whole records."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dentgen.errors import ConditionError, SpecError
from dentgen.records import ConditionName, ConditionRecord, MapArray, PaintedRegion

Colour = tuple[int, int, int]
BACKGROUND, GINGIVA, TOOTH, SOFT_TISSUE, RESTORATION, APPLIANCE, SKIN, INSTRUMENT, DAM = range(9)
IGNORE = 255
SEG_CLASSES: Final[dict[int, str]] = {
    BACKGROUND: "background",
    GINGIVA: "gingiva",
    TOOTH: "tooth",
    SOFT_TISSUE: "other soft tissue",
    RESTORATION: "restoration",
    APPLIANCE: "appliance",
    SKIN: "lip or skin",
    INSTRUMENT: "instrument",
    DAM: "rubber dam",
    IGNORE: "ignore",
}
BACKGROUND_RGB, GUM_RGB, TOOTH_RGB = (59, 59, 59), (202, 71, 47), (198, 193, 119)
RESTORATION_RGB, APPLIANCE_RGB = (96, 158, 206), (122, 72, 168)
SKIN_RGB, INSTRUMENT_RGB, DAM_RGB = (224, 150, 118), (150, 214, 214), (40, 120, 80)

#: Colour of every class value in a segmentation image. Soft tissue other than gum is drawn as background, because maps
#: rendered from scans do not have it.
SEG_PALETTE: Final[NDArray[np.uint8]] = np.tile(np.array(BACKGROUND_RGB, np.uint8), (256, 1))
SEG_PALETTE[GINGIVA] = GUM_RGB
SEG_PALETTE[TOOTH] = TOOTH_RGB
SEG_PALETTE[RESTORATION] = RESTORATION_RGB
SEG_PALETTE[APPLIANCE] = APPLIANCE_RGB
SEG_PALETTE[SKIN], SEG_PALETTE[INSTRUMENT], SEG_PALETTE[DAM] = SKIN_RGB, INSTRUMENT_RGB, DAM_RGB
#: Classes with a colour of their own.
DRAWN_CLASSES: Final[dict[int, Colour]] = {
    BACKGROUND: BACKGROUND_RGB,
    GINGIVA: GUM_RGB,
    TOOTH: TOOTH_RGB,
    RESTORATION: RESTORATION_RGB,
    APPLIANCE: APPLIANCE_RGB,
    SKIN: SKIN_RGB,
    INSTRUMENT: INSTRUMENT_RGB,
    DAM: DAM_RGB,
}

#: Permanent (11-48) and deciduous (51-85) FDI numbers.
FDI_NUMBERS: Final = frozenset(
    [10 * quadrant + tooth for quadrant in (1, 2, 3, 4) for tooth in range(1, 9)]
    + [10 * quadrant + tooth for quadrant in (5, 6, 7, 8) for tooth in range(1, 6)]
)

#: First digits of the FDI numbers of the upper jaw, and of the patient's right side.
UPPER_QUADRANTS: Final = (1, 2, 5, 6)
RIGHT_QUADRANTS: Final = (1, 4, 5, 8)

#: Values that label maps may contain, by member.
LABEL_VALUES: Final = {"seg.png": frozenset(SEG_CLASSES), "fdi.png": FDI_NUMBERS | {0}}

_MIRRORED_QUADRANT = {1: 2, 2: 1, 3: 4, 4: 3, 5: 6, 6: 5, 7: 8, 8: 7}
_MIRROR_FDI = np.arange(256, dtype=np.uint8)
for _fdi in FDI_NUMBERS:
    _MIRROR_FDI[_fdi] = 10 * _MIRRORED_QUADRANT[_fdi // 10] + _fdi % 10


def colour_segmentation(seg: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Colour a class map, (H, W) uint8, with the palette: (H, W, 3) uint8."""
    return SEG_PALETTE[seg]


def labels_from_palette(image: NDArray[np.uint8], palette: Mapping[int, Colour] = DRAWN_CLASSES) -> NDArray[np.uint8]:
    """Convert palette colours to a class map, the inverse of ``colour_segmentation`` for the classes in ``palette``.

    Colours must match exactly. JPEG compression and interpolation blend the colours of neighbouring classes, and the
    palette colour closest to a blend often belongs to a third class.

    Args:
        image: (H, W, 3) uint8 RGB.
        palette: Colour of every class value, 0..255.

    Returns:
        (H, W) uint8 class map.

    Raises:
        ConditionError: If ``image`` is not uint8 RGB or has a colour that is not in ``palette``.
        SpecError: If two classes have the same colour.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ConditionError("label image", f"shape {image.shape}, dtype {image.dtype}", "uint8 RGB, (H, W, 3)")
    values = {int(_packed(np.array(colour))): value for value, colour in palette.items()}
    if len(values) < len(palette):
        raise SpecError(key="palette", found=dict(palette), expected="a different colour for every class")
    codes, inverse, pixels = np.unique(_packed(image), return_inverse=True, return_counts=True)
    strays = [(int(count), int(code)) for code, count in zip(codes, pixels, strict=True) if int(code) not in values]
    if strays:
        raise _stray_colours(strays, palette)
    return np.array([values[int(code)] for code in codes], np.uint8)[inverse].reshape(image.shape[:2])


def tissue_classes(seg: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Reduce a class map of any shape to background, gingiva, tooth and ``IGNORE``.

    Restorations count as tooth; other soft tissue, skin, instruments and rubber dam as background; appliances, which
    hide teeth, become ``IGNORE``.
    """
    folded = np.array([BACKGROUND, GINGIVA, TOOTH, BACKGROUND, TOOTH, IGNORE, *[BACKGROUND] * 3], np.uint8)
    return np.where(seg < len(folded), folded[np.minimum(seg, len(folded) - 1)], IGNORE).astype(np.uint8)


def mirror_record(record: ConditionRecord) -> ConditionRecord:
    """Mirror a record left to right, as if it showed the mirrored mouth.

    Maps and photo are flipped, FDI numbers swap quadrants, normals change the sign of x, and left and right views are
    swapped in prompt and attributes. Mirroring twice gives the original record. The key is unchanged and the result is
    not marked as mirrored, because it is a valid record of another mouth; a caller that keeps both must rename one.
    """
    attributes = dict(record.attributes)
    if "view" in attributes:
        attributes["view"] = _OTHER_SIDE.get(attributes["view"], attributes["view"])
    return replace(
        record,
        prompt=mirror_prompt(record.prompt),
        conditions={name: _mirror_condition(name, array) for name, array in record.conditions.items()},
        fdi=None if record.fdi is None else mirror_fdi(record.fdi),
        photo=None if record.photo is None else record.photo[:, ::-1].copy(),
        attributes=attributes,
        painted=tuple(map(_mirror_painted, record.painted)),
    )


def mirror_prompt(prompt: str) -> str:
    """Swap "left view" and "right view" in a prompt; any other left or right stays."""
    return re.sub(r"\b(left|right)(?= view\b)", lambda side: _OTHER_SIDE[side[1]], prompt)


def mirror_fdi(fdi: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Flip an FDI map (H, W) left to right and swap the quadrants of the patient's right and left."""
    return _MIRROR_FDI[fdi[:, ::-1]]


def mirror_normal(normal: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Flip an encoded normal map (H, W, 3) left to right and negate x; "no surface" (0, 0, 0) is kept.

    A byte v encodes (v - 127.5) / 127.5, so 255 - v is its exact negative and mirroring twice is bit-exact.
    """
    flipped = normal[:, ::-1].copy()
    surface = has_surface(flipped)
    flipped[surface, 0] = 255 - flipped[surface, 0]
    return flipped


def has_surface(normal: MapArray) -> NDArray[np.bool_]:
    """Return the mask (H, W) of surface pixels in an encoded normal map (H, W, 3).

    Only green and blue count: no unit vector has y = z = -1, whatever its x. Including red would make (255, 0, 0) a
    surface and its mirror image (0, 0, 0) none.
    """
    return (normal[..., 1] > 0) | (normal[..., 2] > 0)


_OTHER_SIDE: Final = {"left": "right", "right": "left"}


def _mirror_painted(region: PaintedRegion) -> PaintedRegion:
    negative = None if region.negative_prompt is None else mirror_prompt(region.negative_prompt)
    mask = region.mask[:, ::-1].copy()
    return replace(region, prompt=mirror_prompt(region.prompt), negative_prompt=negative, mask=mask)


def _mirror_condition(name: ConditionName, array: MapArray) -> MapArray:
    return mirror_normal(array.astype(np.uint8)) if name == "normal" else array[:, ::-1].copy()


def _packed(colours: NDArray[np.integer]) -> NDArray[np.int32]:
    """Pack RGB (..., 3) into integers 0xRRGGBB (...)."""
    return (colours.astype(np.int32) * np.array([65536, 256, 1], np.int32)).sum(-1, dtype=np.int32)


def _stray_colours(strays: list[tuple[int, int]], palette: Mapping[int, Colour]) -> ConditionError:
    """Error that names the most frequent of the ``(pixels, packed colour)`` pairs and the closest palette colour."""
    count, code = max(strays)
    colour = (code >> 16, code >> 8 & 255, code & 255)
    nearest = min(palette.values(), key=lambda other: sum((a - b) ** 2 for a, b in zip(colour, other, strict=True)))
    total = sum(pixels for pixels, _ in strays)
    found = f"{total} pixels of {len(strays)} colours outside the palette, most often {colour} ({count} pixels)"
    expected = f"palette colours such as {nearest}, the closest, in a lossless image resized by nearest neighbour only"
    return ConditionError("label image", found, expected)
