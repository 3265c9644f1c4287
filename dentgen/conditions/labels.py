"""Label maps: classes, their colours, FDI numbers, and what a mirror does to them and to the maps beside them.

Refuses to know files and models.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dentgen.errors import ConditionError, SpecError
from dentgen.records import ConditionName, ConditionRecord, MapArray

Colour = tuple[int, int, int]
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
RESTORATION_RGB, APPLIANCE_RGB = (96, 158, 206), (122, 72, 168)

#: Colour of every class value in a segmentation image: what a model must draw where the label says. Soft tissue beside
#: the gum is drawn as background, as maps rendered from scans know none of it.
SEG_PALETTE: Final[NDArray[np.uint8]] = np.tile(np.array(BACKGROUND_RGB, np.uint8), (256, 1))
SEG_PALETTE[GINGIVA] = GUM_RGB
SEG_PALETTE[TOOTH] = TOOTH_RGB
SEG_PALETTE[RESTORATION] = RESTORATION_RGB
SEG_PALETTE[APPLIANCE] = APPLIANCE_RGB
#: The classes that have a colour of their own.
DRAWN_CLASSES: Final[dict[int, Colour]] = {
    BACKGROUND: BACKGROUND_RGB,
    GINGIVA: GUM_RGB,
    TOOTH: TOOTH_RGB,
    RESTORATION: RESTORATION_RGB,
    APPLIANCE: APPLIANCE_RGB,
}

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


def labels_from_palette(image: NDArray[np.uint8], palette: Mapping[int, Colour] = DRAWN_CLASSES) -> NDArray[np.uint8]:
    """Palette colours (H, W, 3) to a class map (H, W); undoes ``colour_segmentation`` for the classes in ``palette``.

    Colours must match exactly: a label image that was a JPEG, or was resized by anything but nearest, has colours
    between those of its classes, and the nearest class of such a pixel is often a third one.

    Args:
        image: uint8 RGB.
        palette: Colour of every class value, 0..255.

    Raises:
        ConditionError: If ``image`` is not uint8 RGB or has a colour that is not in ``palette``.
        SpecError: If two classes have one colour.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ConditionError("label image", f"shape {image.shape}, dtype {image.dtype}", "uint8 RGB, (H, W, 3)")
    values = {int(_packed(np.array(colour))): value for value, colour in palette.items()}
    if len(values) < len(palette):
        raise SpecError(f"palette: found a colour of two classes in {dict(palette)}, expected a colour for each")
    codes, inverse, pixels = np.unique(_packed(image), return_inverse=True, return_counts=True)
    strays = [(int(count), int(code)) for code, count in zip(codes, pixels, strict=True) if int(code) not in values]
    if strays:
        raise _stray_colours(strays, palette)
    return np.array([values[int(code)] for code in codes], np.uint8)[inverse].reshape(image.shape[:2])


def tissue_classes(seg: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Class map (H, W) or (n, H, W) in three classes: a restored tooth is a tooth, what hides teeth is ``IGNORE``."""
    folded = np.array([BACKGROUND, GINGIVA, TOOTH, BACKGROUND, TOOTH, IGNORE], np.uint8)
    return np.where(seg < len(folded), folded[np.minimum(seg, len(folded) - 1)], IGNORE).astype(np.uint8)


def mirror_record(record: ConditionRecord) -> ConditionRecord:
    """The record of the mirrored mouth: what stood at the patient's right stands at the left.

    Maps and photo are flipped left to right, FDI numbers change quadrants, normals change the sign of x, and with the
    lighting map the light's direction is mirrored. "left view" and "right view" change places in the prompt, as do the
    views in the attributes. Twice is the record itself. The key stays, and nothing says that the record is a mirror
    image, because it is a true record of a possible mouth: who keeps both gives one of them another key.
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
    )


def mirror_prompt(prompt: str) -> str:
    """The prompt of the mirrored picture: "left view" and "right view" change places, no other left or right does."""
    return re.sub(r"\b(left|right)(?= view\b)", lambda side: _OTHER_SIDE[side[1]], prompt)


def mirror_fdi(fdi: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Flip an FDI map left to right; patient sides swap, so quadrants do too."""
    return _MIRROR_FDI[fdi[:, ::-1]]


def mirror_normal(normal: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Flip an encoded normal map left to right; x changes sign, "no surface" (0, 0, 0) stays.

    Byte v stands for (v - 127.5) / 127.5, so 255 - v is the exact negative: twice is the identity, bit for bit.
    """
    flipped = normal[:, ::-1].copy()
    surface = has_surface(flipped)
    flipped[surface, 0] = 255 - flipped[surface, 0]
    return flipped


def has_surface(normal: MapArray) -> NDArray[np.bool_]:
    """Mask (H, W) of the pixels of an encoded normal map (H, W, 3) that show a surface.

    No unit vector has -1 in both y and z: a pixel without green and blue is none, whatever its red. Asking for any
    channel instead would make (255, 0, 0) vanish in a mirror.
    """
    return (normal[..., 1] > 0) | (normal[..., 2] > 0)


_OTHER_SIDE: Final = {"left": "right", "right": "left"}


def _mirror_condition(name: ConditionName, array: MapArray) -> MapArray:
    return mirror_normal(array.astype(np.uint8)) if name == "normal" else array[:, ::-1].copy()


def _packed(colours: NDArray[np.integer]) -> NDArray[np.int32]:
    """RGB (..., 3) as one number."""
    return (colours.astype(np.int32) * np.array([65536, 256, 1], np.int32)).sum(-1, dtype=np.int32)


def _stray_colours(strays: list[tuple[int, int]], palette: Mapping[int, Colour]) -> ConditionError:
    """What to say of colours, (pixels, packed), that no class has: the commonest one and what it may have been."""
    count, code = max(strays)
    colour = (code >> 16, code >> 8 & 255, code & 255)
    nearest = min(palette.values(), key=lambda other: sum((a - b) ** 2 for a, b in zip(colour, other, strict=True)))
    total = sum(pixels for pixels, _ in strays)
    found = f"{total} pixels of {len(strays)} colours that no class has, such as {colour} ({count} pixels)"
    expected = f"colours of the palette, such as {nearest}, the nearest: a lossless image, resized by nearest only"
    return ConditionError("label image", found, expected)
