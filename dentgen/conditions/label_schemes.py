"""Tooth numbers under other names: FDI, 0..16 along a jaw, 33 classes, quadrant and position.

Every conversion goes through FDI numbers by lookup tables, so it is exact; what a scheme cannot express is refused by
value. Data sets do not say which scheme they use and the ranges overlap: ``per_jaw`` and ``per_jaw_halves`` hold the
same values and mean other teeth. Refuses to guess a scheme, and to know files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from dentgen.conditions.labels import FDI_NUMBERS, IGNORE
from dentgen.errors import ConditionError, SpecError

#: ``fdi``: 11-48 and, deciduous, 51-85; dentgen's own.
#: ``per_jaw``: 1..16 along one arch from the patient's right third molar to the left one (``ARCH_ORDER``).
#: ``per_jaw_halves``: 1..8 and 9..16 of one arch, each from the midline backwards, the half with the lower FDI numbers
#: first (so the patient's right comes first above, the left below): Teeth3DS as its challenge's baselines read it.
#: ``classes33``: 1..32 of the Universal Numbering System: 1..16 upper right to left, 17..32 lower left to right.
#: ``quadrant_position``: two maps, FDI's digits: quadrant 1..8 and position 1..8.
#: 0 is no tooth (gum included) in all of them.
LabelScheme = Literal["fdi", "per_jaw", "per_jaw_halves", "classes33", "quadrant_position"]
Jaw = Literal["upper", "lower"]
OnMissing = Literal["refuse", "ignore"]


def _quadrant(quadrant: int) -> tuple[int, ...]:
    """A quadrant's permanent teeth from the midline backwards."""
    return tuple(10 * quadrant + position for position in range(1, 9))


#: Permanent teeth of a jaw from the patient's right third molar to the left one.
ARCH_ORDER: Final[dict[Jaw, tuple[int, ...]]] = {
    "upper": (*reversed(_quadrant(1)), *_quadrant(2)),
    "lower": (*reversed(_quadrant(4)), *_quadrant(3)),
}
_HALVES: Final[dict[Jaw, tuple[int, ...]]] = {
    "upper": (*_quadrant(1), *_quadrant(2)),
    "lower": (*_quadrant(3), *_quadrant(4)),
}
#: In a lookup table: this has no value.
_NOTHING: Final = -1
_UNIVERSAL: Final = (*ARCH_ORDER["upper"], *reversed(ARCH_ORDER["lower"]))


@dataclass(frozen=True, slots=True)
class Conversion:
    """A converted label map and what it lost.

    Attributes:
        labels: uint8; (2, H, W) for ``quadrant_position``, otherwise (H, W).
        ignored: Pixels that became ``IGNORE``, by FDI number (255: they were ignored before).
    """

    labels: NDArray[np.uint8]
    ignored: dict[int, int]


def convert(
    labels: NDArray[np.uint8],
    source: LabelScheme,
    target: LabelScheme,
    jaw: Jaw | None = None,
    on_missing: OnMissing = "refuse",
) -> Conversion:
    """Tooth labels of one scheme in another.

    Args:
        labels: uint8 of any shape, such as (H, W); for ``quadrant_position`` its two maps stacked, (2, H, W).
        source: Scheme of ``labels``.
        target: Scheme wanted.
        jaw: Which jaw the labels show; needed by the schemes of one jaw, in both directions.
        on_missing: What to do with a tooth that ``target`` has no value for, such as a deciduous one: refuse the map,
            or mark the tooth ``IGNORE`` and count it. Only the latter lets ``IGNORE`` into a map, and out of one.

    Raises:
        ConditionError: If ``labels`` are not uint8, hold what ``source`` does not know, or what ``target`` cannot say.
        SpecError: If a scheme needs a jaw and none is named.
    """
    if labels.dtype != np.uint8:
        raise ConditionError(f"{source} labels", f"dtype {labels.dtype}", "uint8")
    fdi = _to_fdi(labels, source, jaw)
    table = _table(target, jaw)
    missing = _counts(fdi, np.flatnonzero(table == _NOTHING))
    if missing and on_missing == "refuse":
        expected = f"what {_worded_scheme(target, jaw)} can express, or on_missing='ignore'"
        raise ConditionError(f"{source} labels", f"FDI numbers {_worded(missing)}", expected)
    found = np.where(table == _NOTHING, IGNORE, table).astype(np.uint8)[fdi]
    return Conversion(_digits(found) if target == "quadrant_position" else found, missing)


def _classes(scheme: LabelScheme, jaw: Jaw | None) -> dict[int, int]:
    """Value of every FDI number that a scheme knows; the two digits of ``quadrant_position`` are one number here."""
    match scheme:
        case "fdi" | "quadrant_position":
            return {number: number for number in FDI_NUMBERS}
        case "classes33":
            return _numbered(_UNIVERSAL)
        case "per_jaw" | "per_jaw_halves" if jaw is None:
            raise SpecError(f"jaw: found none, expected 'upper' or 'lower' for the scheme {scheme}")
        case "per_jaw":
            return _numbered(ARCH_ORDER[jaw])
        case "per_jaw_halves":
            return _numbered(_HALVES[jaw])


def _numbered(order: Sequence[int]) -> dict[int, int]:
    return {number: place for place, number in enumerate(order, 1)}


def _table(scheme: LabelScheme, jaw: Jaw | None) -> NDArray[np.int16]:
    """(256,) value of a scheme by FDI number, ``_NOTHING`` where it has none."""
    table = np.full(256, _NOTHING, np.int16)
    table[0] = 0
    for number, value in _classes(scheme, jaw).items():
        table[number] = value
    return table


def _to_fdi(labels: NDArray[np.uint8], source: LabelScheme, jaw: Jaw | None) -> NDArray[np.uint8]:
    """FDI numbers, ``IGNORE`` where the source says so."""
    values = _joined(labels) if source == "quadrant_position" else labels
    table = np.full(256, _NOTHING, np.int16)
    table[0], table[IGNORE] = 0, IGNORE
    for number, value in _classes(source, jaw).items():
        table[value] = number
    unknown = _counts(values, np.flatnonzero(table == _NOTHING))
    if unknown:
        raise ConditionError(
            f"{source} labels", f"values {_worded(unknown)}", f"those of {_worded_scheme(source, jaw)}"
        )
    return table.astype(np.uint8)[values]


def _joined(pair: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Quadrant and position maps as FDI numbers; 1 and 11 must not become 21."""
    if pair.shape[:1] != (2,):
        raise ConditionError("quadrant_position labels", f"shape {pair.shape}", "two maps, (2, H, W)")
    quadrant, position = pair
    number = 10 * quadrant.astype(np.int32) + position
    ignored = (quadrant == IGNORE) & (position == IGNORE)
    wrong = ~ignored & ~(np.isin(number, [0, *FDI_NUMBERS]) & (quadrant <= 8) & (position <= 8))
    if wrong.any():
        q, p = (int(digit[wrong][0]) for digit in (quadrant, position))
        count = int((wrong & (quadrant == q) & (position == p)).sum())
        found = f"quadrant {q} with position {p} ({count} pixels)"
        raise ConditionError("quadrant_position labels", found, "FDI digits, or 0 and 0")
    return np.where(ignored, IGNORE, number).astype(np.uint8)


def _digits(numbers: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """FDI numbers as quadrant and position maps, stacked."""
    ignored = numbers == IGNORE
    return np.stack([np.where(ignored, IGNORE, digit) for digit in np.divmod(numbers, 10)]).astype(np.uint8)


def _counts(labels: NDArray[np.uint8], values: Iterable[int]) -> dict[int, int]:
    """Pixels of each of ``values`` that occurs."""
    pixels = np.bincount(labels.ravel(), minlength=256)
    return {int(value): int(pixels[value]) for value in values if pixels[value]}


def _worded(pixels: dict[int, int]) -> str:
    return ", ".join(f"{value} ({count} pixels)" for value, count in pixels.items())


def _worded_scheme(scheme: LabelScheme, jaw: Jaw | None) -> str:
    return f"{scheme} of the {jaw} jaw" if scheme in {"per_jaw", "per_jaw_halves"} else scheme
