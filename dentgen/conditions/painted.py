"""Painted regions of condition records: a bit field ``KEY.painted.png`` and entries in ``KEY.json``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from dentgen.conditions.images import StoredImage, label_values
from dentgen.conditions.readers.raw import short
from dentgen.documents.conditions import PaintedEntry
from dentgen.errors import ConditionError, found_and_expected
from dentgen.records import MAX_PAINTED, PAINTED_MEMBER, PaintedRegion

_ENTRIES: Final = TypeAdapter(tuple[PaintedEntry, ...])


def read_painted(place: str, entries: Any, image: StoredImage | None) -> tuple[PaintedRegion, ...]:
    """Painted regions of a record as it is stored; a region may be empty.

    Args:
        place: The record's name in error messages.
        entries: ``painted`` of its ``KEY.json``, not checked yet.
        image: Its ``KEY.painted.png``; None if it has none.

    Returns:
        The regions, the lowest first; masks are booleans.

    Raises:
        ConditionError: If there are too many, an entry is wrong, or entries and map do not belong together.
    """
    checked = _checked(f"{place}.json", entries)
    if image is None:
        if checked:
            found = f"{len(checked)} painted regions without a map"
            raise ConditionError(f"{place}.json", found, f"a member '{PAINTED_MEMBER}.png'")
        return ()
    bits, unknown = label_values(image, range(1 << len(checked)))
    if unknown:
        found, expected = f"values {unknown[:20]}", f"at most {(1 << len(checked)) - 1}: {len(checked)} painted regions"
        raise ConditionError(image.place, found, expected)
    return tuple(_region(entry, (bits >> r) & 1 == 1) for r, entry in enumerate(checked))


def check_painted(regions: Sequence[PaintedRegion], shape: tuple[int, int]) -> None:
    """Check painted regions that come from Python, as a reader checks those of a file.

    Args:
        regions: The regions.
        shape: Height and width of the record's maps.

    Raises:
        ConditionError: If there are too many, or one has another type, size or other values.
    """
    _checked("painted", [_fields(region) for region in regions])
    for region in regions:
        place = f"painted: {short(region.name)}: mask"
        found = str(getattr(region.mask, "dtype", type(region.mask).__name__))
        if found not in ("float32", "bool"):
            raise ConditionError(place, found, "a float32 array (H, W)")
        if region.mask.shape != shape:
            raise ConditionError(place, f"size {region.mask.shape}", f"{shape}, as the maps")
        if not bool(((region.mask >= 0) & (region.mask <= 1)).all()):
            raise ConditionError(place, f"values {region.mask.min():g}..{region.mask.max():g}", "0..1")


def painted_bits(regions: Sequence[PaintedRegion], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """``KEY.painted.png``: (H, W) uint8 with bit r where the mask of region r is at least one half.

    Args:
        regions: At most eight regions, the lowest first.
        shape: Height and width.
    """
    bits = np.zeros(shape, np.uint8)
    for r, region in enumerate(regions):
        bits |= (region.mask >= 0.5).astype(np.uint8) << np.uint8(r)
    return bits


def painted_entries(regions: Sequence[PaintedRegion]) -> tuple[PaintedEntry, ...]:
    """``painted`` of ``KEY.json``, in the order of the bits.

    Raises:
        ConditionError: If there are too many, or a value is out of its range.
    """
    return _checked("painted", [_fields(region) for region in regions])


def clear_painted(region: PaintedRegion, where: NDArray[np.bool_]) -> PaintedRegion:
    """The region without the pixels (H, W) ``where`` something else lies."""
    return replace(region, mask=np.where(where, 0, region.mask).astype(np.float32))


def _region(entry: PaintedEntry, mask: NDArray[np.bool_]) -> PaintedRegion:
    """A region; eight masks of float32 would take most of a large record's memory."""
    return PaintedRegion(mask=mask, **entry.model_dump())


def _fields(region: PaintedRegion) -> dict[str, Any]:
    return {name: getattr(region, name) for name in PaintedEntry.model_fields}


def _checked(file: str, entries: Any) -> tuple[PaintedEntry, ...]:
    if isinstance(entries, (list, tuple)) and len(entries) > MAX_PAINTED:
        raise ConditionError(file, f"{len(entries)} painted regions", f"at most {MAX_PAINTED}")
    try:
        checked = _ENTRIES.validate_python(entries)
    except ValidationError as error:
        first = error.errors()[0]
        message, found, expected = found_and_expected(first)
        field = ".".join(map(str, ("painted", *first["loc"])))
        raise ConditionError(file, short(f"{field}: {found}"), expected or message) from error
    names = [entry.name for entry in checked]
    if len(set(names)) < len(names):
        raise ConditionError(file, short(f"painted: names {names}"), "every name once")
    return checked
