"""Strokes of a brush, drawn into the maps: classes, tooth numbers, findings and the masks of layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import ndimage

from dentgen.conditions.labels import (
    APPLIANCE,
    BACKGROUND,
    FDI_NUMBERS,
    IGNORE,
    RESTORATION,
    SEG_CLASSES,
    TOOTH,
    mirror_fdi,
)
from dentgen.conditions.lesion_map import LESIONS, RESTORATIONS
from dentgen.errors import SpecError
from dentgen.spec.section import Section
from dentgen.studio.planes import Plane, Rectangle
from dentgen.studio.work import FDI, Work

Mask = NDArray[np.bool_]
#: Level of the lighting map where something is painted on what had no surface: that of a surface seen at a slant.
PLAIN_LIGHT: Final = 150
#: Classes that lie on a tooth, and so keep its number.
_ON_TOOTH: Final = (TOOTH, RESTORATION, APPLIANCE)
_Place = Annotated[float, Field(ge=-4096, le=8192)]


class Brush(Section):
    """What a stroke paints."""

    kind: Literal["class", "tooth", "finding", "layer", "unlayer", "erase"] = "class"
    value: int = Field(default=0, ge=0, lt=2**31, description="Class, FDI number, finding, or number of a layer.")


class Stroke(Section):
    """A part of a gesture with the brush."""

    gesture: str = Field(min_length=1, max_length=40, description="Strokes of one gesture are undone together.")
    points: tuple[tuple[_Place, _Place], ...] = Field(min_length=1, max_length=4000, description="x, y in map pixels.")
    radius: float = Field(gt=0, le=1024, description="Map pixels.")
    brush: Brush = Brush()
    symmetric: bool = Field(default=False, description="Also on the other side of the vertical middle line.")
    within: int | tuple[_Place, _Place] | None = Field(
        default=None, description="FDI number, or a point, of the tooth outside of which nothing is painted."
    )


def paint(work: Work, stroke: Stroke) -> None:
    """Draw a stroke into a document's maps.

    A class is painted where the brush was. A tooth number also paints the class tooth; classes that do not lie on a
    tooth clear the number. Erasing brings back what the record had.

    Raises:
        SpecError: If there is no such class, number, finding or layer, or ``within`` names no tooth.
    """
    _check(work, stroke.brush)
    mask = covered(stroke.points, stroke.radius, work.base.shape)
    allowed = None if stroke.within is None else tooth_mask(work, stroke.within)
    if stroke.symmetric:
        _paint(work, stroke, mask[:, ::-1], None if allowed is None else allowed[:, ::-1], mirrored=True)
    _paint(work, stroke, mask, allowed, mirrored=False)


def covered(points: Sequence[tuple[float, float]], radius: float, shape: tuple[int, int]) -> Mask:
    """Pixels (H, W) whose centres are within ``radius`` of a polyline; the pixel of a single point at least.

    Args:
        points: x, y in pixels; the centre of the first pixel is at (0.5, 0.5).
        radius: Pixels.
        shape: Height and width.
    """
    mask = np.zeros(shape, bool)
    reach = max(radius, 0.75)
    for (x0, y0), (x1, y1) in zip(points, points[1:] or points, strict=False):
        rows = _span(min(y0, y1) - reach, max(y0, y1) + reach, shape[0])
        columns = _span(min(x0, x1) - reach, max(x0, x1) + reach, shape[1])
        y, x = np.ogrid[rows, columns]
        y, x, dx, dy = y + 0.5, x + 0.5, x1 - x0, y1 - y0
        length = dx * dx + dy * dy
        along = np.clip(((x - x0) * dx + (y - y0) * dy) / length, 0, 1) if length else 0.0
        mask[rows, columns] |= (x - x0 - along * dx) ** 2 + (y - y0 - along * dy) ** 2 <= reach * reach
    return mask


def tooth_mask(work: Work, tooth: int | tuple[float, float]) -> Mask:
    """Pixels (H, W) of a tooth.

    Args:
        work: The document.
        tooth: FDI number: what has it now, or had it in the record. Or a point: the tooth of the number there, or the
            connected part of tooth there if it has none.

    Raises:
        SpecError: If there is no such tooth.
    """
    fdi, seg, base = work.planes[FDI], work.planes.get("segmentation"), work.base.fdi
    if isinstance(tooth, int):
        mask: Mask = (fdi == tooth) | (False if base is None else base == tooth)
        if not tooth or not mask.any():
            raise SpecError(key="within", found=f"no tooth {tooth}", expected="a tooth of the picture")
        return mask
    x, y = int(tooth[0]), int(tooth[1])
    if not (0 <= y < fdi.shape[0] and 0 <= x < fdi.shape[1]):
        raise SpecError(key="within", found=f"the point {x}, {y}", expected="a point of the picture")
    if fdi[y, x]:
        return tooth_mask(work, int(fdi[y, x]))
    if seg is None or seg[y, x] not in _ON_TOOTH:
        raise SpecError(key="within", found=f"no tooth at {x}, {y}", expected="a point of a tooth")
    parts, _ = ndimage.label(np.isin(seg, _ON_TOOTH))
    part: Mask = parts == parts[y, x]
    return part


def _span(low: float, high: float, end: int) -> slice:
    start = min(end, max(0, int(np.floor(low))))
    return slice(start, max(start, min(end, int(np.ceil(high)))))


def _check(work: Work, brush: Brush) -> None:
    if brush.kind in {"class", "tooth"} and "segmentation" not in work.planes:
        raise SpecError(key="brush", found=f"a {brush.kind}", expected="a record with a segmentation")
    match brush.kind:
        case "class":
            _require("brush", brush.value, SEG_CLASSES)
        case "tooth":
            _require("brush", brush.value, FDI_NUMBERS)
        case "finding":
            _require("brush", brush.value, LESIONS)
            if "findings" not in work.planes:
                raise SpecError(key="brush", found="a finding", expected="conditions.use with findings")
        case "layer" | "unlayer":
            work.layer(brush.value)
        case "erase":
            pass


def _require(key: str, value: int, known: Sequence[int] | frozenset[int] | dict[int, str]) -> None:
    if value not in known:
        raise SpecError(key=key, found=value, expected=f"one of {sorted(known)}")


def _paint(work: Work, stroke: Stroke, mask: Mask, allowed: Mask | None, *, mirrored: bool) -> None:
    mask = mask if allowed is None else mask & allowed
    where = Rectangle.around(mask)
    if where is None:
        return
    before = {name: plane[where.window] for name, plane in work.planes.items()}
    base: dict[str, Plane] = {name: plane[where.window] for name, plane in work.base.conditions.items()}
    base[FDI] = np.zeros_like(before[FDI]) if work.base.fdi is None else work.base.fdi[where.window]
    after = _painted(stroke.brush, before, base, mirrored=mirrored)
    inside = mask[where.window]
    work.change(stroke.gesture, {name: (where, np.where(inside, new, before[name])) for name, new in after.items()})


def _painted(brush: Brush, before: dict[str, Plane], base: dict[str, Plane], *, mirrored: bool) -> dict[str, Plane]:
    """Planes as they are where the brush was."""
    match brush.kind:
        case "class":
            return _of_class(brush.value, before)
        case "tooth":
            number = int(mirror_fdi(np.array([[brush.value]], np.uint8))[0, 0]) if mirrored else brush.value
            return {**_of_class(TOOTH, before), FDI: np.full_like(before[FDI], number)}
        case "finding":
            seg = before.get("segmentation")
            changed = {} if seg is None or brush.value not in RESTORATIONS else _of_class(RESTORATION, before)
            return {**changed, "findings": np.full_like(before["findings"], brush.value)}
        case "layer" | "unlayer":
            name = f"layer {brush.value}"
            return {name: np.full_like(before[name], brush.kind == "layer")}
        case "erase":
            names = [name for name in ("segmentation", FDI, "findings") if name in before and name in base]
            return {name: base[name] for name in names} | _unlit(before, base)


def _of_class(value: int, before: dict[str, Plane]) -> dict[str, Plane]:
    after: dict[str, Plane] = {"segmentation": np.full_like(before["segmentation"], value)}
    if value not in _ON_TOOTH:
        after[FDI] = np.zeros_like(before[FDI])
    if "findings" in before and value != RESTORATION:
        after["findings"] = np.zeros_like(before["findings"])
    light = before.get("lighting")
    if light is not None and value not in {BACKGROUND, IGNORE}:  # what has no surface would be drawn black
        after["lighting"] = np.where(light == 0, PLAIN_LIGHT, light).astype(light.dtype)
    return after


def _unlit(before: dict[str, Plane], base: dict[str, Plane]) -> dict[str, Plane]:
    """Lighting that painting gave to what had no surface goes again; that of lamps stays."""
    if "lighting" not in before:
        return {}
    return {"lighting": np.where(base["lighting"] == 0, base["lighting"], before["lighting"])}
