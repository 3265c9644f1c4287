"""Label maps of an annotated photograph, and a lighting map that is estimated from its pixels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from dentgen.conditions.labels import BACKGROUND, IGNORE, TOOTH
from dentgen.conditions.lesion_map import RESTORATIONS
from dentgen.errors import ConditionError
from dentgen.ingest.photos.annotations import AnnotatedPhoto, Polygon, Thing
from dentgen.ingest.photos.meaning import SKIP, Meanings, class_of, lesion_of, tooth_number
from dentgen.ingest.photos.picture import Picture

LIGHTING_METHOD: Final = "luminance-by-class"
#: Level of every class's median in a lighting map, and the widest factor about it.
_MIDDLE, _WIDEST = 128.0, 2.0
#: Sigma of the blur that takes texture away, as a share of the shorter edge.
_BLUR_SHARE: Final = 0.006
#: Difference of aspect ratios that rounding can make.
_ASPECT_TOLERANCE: Final = 0.02
_LUMINANCE: Final = (0.299, 0.587, 0.114)

_Map = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class PhotoMaps:
    """Maps of one photograph, each (H, W) uint8: classes, FDI numbers and lesions; the last two None without any."""

    seg: _Map
    fdi: _Map | None
    lesion: _Map | None


def label_maps(photo: AnnotatedPhoto, picture: Picture, meanings: Meanings) -> PhotoMaps:
    """Draw all areas in their order; findings lie over teeth.

    Raises:
        ConditionError: If a label has no meaning, or the annotation belongs to a picture of another shape.
    """
    unknown = sorted({thing.label for thing in photo.things} - meanings.labels.keys())
    if unknown:
        raise ConditionError(photo.name, f"labels without a meaning: {unknown[:10]}", "a meaning for each, or skip")
    seg = np.full(picture.pixels.shape[:2], BACKGROUND if meanings.rest == "background" else IGNORE, np.uint8)
    fdi, lesion = np.zeros_like(seg), np.zeros_like(seg)
    meant = meanings.labels
    used = [thing for thing in photo.things if meant[thing.label] != SKIP]
    ordered = sorted(used, key=lambda thing: lesion_of(meant[thing.label]) is not None)
    for thing, mask in area_masks(replace(photo, things=tuple(ordered)), picture):
        meaning = meant[thing.label]
        seg[mask] = class_of(meaning)
        number, finding = tooth_number(meaning), lesion_of(meaning)
        if number is not None:
            fdi[mask] = number
        if finding is not None:
            lesion[mask] = finding
        elif class_of(meaning) != TOOTH:
            lesion[mask] = 0
        if class_of(meaning) != TOOTH and finding not in RESTORATIONS:
            fdi[mask] = 0
    lesion[seg == IGNORE] = IGNORE
    return PhotoMaps(
        seg,
        fdi if any(tooth_number(meaning) for meaning in meant.values()) else None,
        lesion if any(lesion_of(meaning) for meaning in meant.values()) else None,
    )


def area_masks(photo: AnnotatedPhoto, picture: Picture) -> Iterator[tuple[Thing, NDArray[np.bool_]]]:
    """Every area with its mask (H, W) on the photograph as it is seen, in their order.

    Raises:
        ConditionError: If the annotation belongs to a picture of another shape.
    """
    width, height = _drawn_size(photo, picture)
    scale = picture.seen if photo.shares else (1, 1)
    for thing in photo.things:
        mask = _mask(thing, (height, width), scale)
        yield thing, _as_seen(mask.astype(np.uint8), picture, photo) > 0


def estimated_lighting(pixels: _Map, seg: _Map) -> _Map:
    """Estimate lighting from a photograph (H, W, 3) and its classes (H, W), as ``LIGHTING_METHOD`` names it.

    Luminance without texture, divided by the median of its class, so that dark gum and bright teeth get the same level
    under the same light. 0 where nothing is annotated.
    """
    luminance = gaussian_filter(pixels @ np.array(_LUMINANCE), _BLUR_SHARE * min(seg.shape))
    light = np.zeros(seg.shape)
    for value in np.unique(seg[(seg != IGNORE) & (seg != BACKGROUND)]):
        here = seg == value
        light[here] = _MIDDLE * np.clip(luminance[here] / max(float(np.median(luminance[here])), 1.0), 0, _WIDEST)
    return np.clip(np.round(light), 0, 255).astype(np.uint8)


def _drawn_size(photo: AnnotatedPhoto, picture: Picture) -> tuple[int, int]:
    """Width and height that areas are drawn at: the annotation's own, or the picture's."""
    if photo.size is None or photo.shares:
        return picture.seen
    if not _fits(photo.size, picture.seen) and not _fits(photo.size, picture.stored):
        found = f"an annotation of {photo.size[0]} x {photo.size[1]}"
        raise ConditionError(photo.name, found, f"the picture's {picture.seen[0]} x {picture.seen[1]} or its aspect")
    return photo.size


def _fits(size: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two widths and heights have one aspect ratio."""
    return abs(size[0] * other[1] / (size[1] * other[0]) - 1) <= _ASPECT_TOLERANCE


def _as_seen(labels: _Map, picture: Picture, photo: AnnotatedPhoto) -> _Map:
    """A map as the picture is seen: turned if the annotation's size is that of pixels as stored, then resized."""
    size = (labels.shape[1], labels.shape[0])
    if not photo.shares and not _fits(size, picture.seen) and _fits(size, picture.stored):
        labels = picture.turned(labels)
    if (labels.shape[1], labels.shape[0]) != picture.seen:
        labels = np.asarray(Image.fromarray(labels).resize(picture.seen, Image.Resampling.NEAREST))
    return labels


def _mask(thing: Thing, shape: tuple[int, int], scale: tuple[int, int]) -> NDArray[np.bool_]:
    if thing.mask is not None:
        if thing.mask.shape != shape:
            raise ConditionError(thing.label, f"a mask of {thing.mask.shape}", f"the picture's {shape}")
        return thing.mask
    image = Image.new("1", (shape[1], shape[0]))
    draw = ImageDraw.Draw(image)
    for rings, fill in ((thing.rings, 1), (thing.holes, 0)):
        for ring in rings:
            if len(ring) >= 3:
                draw.polygon(_rounded(ring, scale), fill=fill)
    return np.asarray(image)


def _rounded(ring: Polygon, scale: tuple[int, int]) -> list[tuple[float, float]]:
    """Coordinates in pixels to a hundredth: shares of six digits become what they were."""
    return [(round(x * scale[0], 2), round(y * scale[1], 2)) for x, y in ring]
