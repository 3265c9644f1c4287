"""Conversion between tooth numbering schemes: FDI, 1..16 along one jaw, 33 classes, quadrant and position.

Conversions are exact lookups through FDI numbers. The scheme is never guessed: datasets do not name theirs, and value
ranges overlap (``per_jaw`` and ``per_jaw_halves`` use the same values for different teeth).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from dentgen.conditions.labels import FDI_NUMBERS, IGNORE
from dentgen.errors import ConditionError, SpecError

#: ``fdi``: permanent 11-48 and deciduous 51-85; dentgen's own scheme.
#: ``per_jaw``: 1..16 along one arch from the patient's right third molar to the left one (``ARCH_ORDER``).
#: ``per_jaw_halves``: 1..8 and 9..16 in one arch, each counted from the midline backwards; the half with the lower FDI
#: numbers comes first (upper right, lower left). This is how the baselines of the Teeth3DS challenge number teeth.
#: ``classes33``: 1..32 of the Universal Numbering System: 1..16 upper right to left, 17..32 lower left to right.
#: ``quadrant_position``: two maps with the digits of the FDI number: quadrant 1..8 and position 1..8.
#: In all of them 0 is no tooth (background or gum).
LabelScheme = Literal["fdi", "per_jaw", "per_jaw_halves", "classes33", "quadrant_position"]
Jaw = Literal["upper", "lower"]
OnMissing = Literal["refuse", "ignore"]


def _quadrant(quadrant: int) -> tuple[int, ...]:
    """FDI numbers of a quadrant's permanent teeth from the midline backwards."""
    return tuple(10 * quadrant + position for position in range(1, 9))


#: FDI numbers of a jaw's permanent teeth from the patient's right third molar to the left one.
ARCH_ORDER: Final[dict[Jaw, tuple[int, ...]]] = {
    "upper": (*reversed(_quadrant(1)), *_quadrant(2)),
    "lower": (*reversed(_quadrant(4)), *_quadrant(3)),
}
_HALVES: Final[dict[Jaw, tuple[int, ...]]] = {
    "upper": (*_quadrant(1), *_quadrant(2)),
    "lower": (*_quadrant(3), *_quadrant(4)),
}
#: Marks entries without a value in lookup tables.
_NO_VALUE: Final = -1
_UNIVERSAL: Final = (*ARCH_ORDER["upper"], *reversed(ARCH_ORDER["lower"]))


@dataclass(frozen=True, slots=True)
class Conversion:
    """A converted label map and the pixels lost in the conversion.

    Attributes:
        labels: uint8 of the input's shape; for ``quadrant_position`` two maps, (2, H, W).
        ignored: Number of pixels set to ``IGNORE``, by FDI number; under 255 those that were ``IGNORE`` already.
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
    """Convert tooth labels from one scheme to another.

    Args:
        labels: uint8 of any shape, such as (H, W); for ``quadrant_position`` its two maps stacked, (2, H, W).
        source: Scheme of ``labels``.
        target: Scheme to convert to.
        jaw: Jaw that the labels show; required if ``source`` or ``target`` numbers the teeth of one jaw.
        on_missing: How to treat teeth without a value in ``target``, such as deciduous ones, and ``IGNORE`` pixels:
            ``refuse`` raises, ``ignore`` sets them to ``IGNORE`` and counts them.

    Returns:
        The converted labels and the pixels set to ``IGNORE``.

    Raises:
        ConditionError: If ``labels`` are not uint8, or have values that are not in ``source`` or, with ``refuse``, not
            in ``target``.
        SpecError: If a scheme requires a jaw and none is given.
    """
    if labels.dtype != np.uint8:
        raise ConditionError(f"{source} labels", f"dtype {labels.dtype}", "uint8")
    fdi = _to_fdi(labels, source, jaw)
    table = _table(target, jaw)
    missing = _counts(fdi, np.flatnonzero(table == _NO_VALUE))
    if missing and on_missing == "refuse":
        expected = f"numbers in the scheme {_scheme_name(target, jaw)}, or on_missing='ignore'"
        raise ConditionError(f"{source} labels", f"FDI numbers {_format_counts(missing)}", expected)
    converted = np.where(table == _NO_VALUE, IGNORE, table).astype(np.uint8)[fdi]
    return Conversion(_digits(converted) if target == "quadrant_position" else converted, missing)


def _values_by_fdi(scheme: LabelScheme, jaw: Jaw | None) -> dict[int, int]:
    """Values of a scheme by FDI number; for ``quadrant_position``, its two digits as one number."""
    match scheme:
        case "fdi" | "quadrant_position":
            return {number: number for number in FDI_NUMBERS}
        case "classes33":
            return _numbered(_UNIVERSAL)
        case "per_jaw" | "per_jaw_halves" if jaw is None:
            raise SpecError(key="jaw", found="none", expected=f"'upper' or 'lower' for the scheme {scheme}")
        case "per_jaw":
            return _numbered(ARCH_ORDER[jaw])
        case "per_jaw_halves":
            return _numbered(_HALVES[jaw])


def _numbered(order: Sequence[int]) -> dict[int, int]:
    return {number: value for value, number in enumerate(order, 1)}


def _table(scheme: LabelScheme, jaw: Jaw | None) -> NDArray[np.int16]:
    """Lookup table (256,) from FDI numbers to a scheme's values, ``_NO_VALUE`` where it has none."""
    table = np.full(256, _NO_VALUE, np.int16)
    table[0] = 0
    for number, value in _values_by_fdi(scheme, jaw).items():
        table[number] = value
    return table


def _to_fdi(labels: NDArray[np.uint8], source: LabelScheme, jaw: Jaw | None) -> NDArray[np.uint8]:
    """Convert to FDI numbers, keeping ``IGNORE``."""
    values = _joined(labels) if source == "quadrant_position" else labels
    table = np.full(256, _NO_VALUE, np.int16)
    table[0], table[IGNORE] = 0, IGNORE
    for number, value in _values_by_fdi(source, jaw).items():
        table[value] = number
    unknown = _counts(values, np.flatnonzero(table == _NO_VALUE))
    if unknown:
        expected = f"values of the scheme {_scheme_name(source, jaw)}"
        raise ConditionError(f"{source} labels", f"values {_format_counts(unknown)}", expected)
    return table.astype(np.uint8)[values]


def _joined(pair: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Combine quadrant and position maps to FDI numbers; 1 and 11 must not become 21."""
    if pair.shape[:1] != (2,):
        raise ConditionError("quadrant_position labels", f"shape {pair.shape}", "two maps, (2, H, W)")
    quadrant, position = pair
    number = 10 * quadrant.astype(np.int32) + position
    ignored = (quadrant == IGNORE) & (position == IGNORE)
    invalid = ~ignored & ~(np.isin(number, [0, *FDI_NUMBERS]) & (quadrant <= 8) & (position <= 8))
    if invalid.any():
        q, p = (int(digit[invalid][0]) for digit in (quadrant, position))
        count = int((invalid & (quadrant == q) & (position == p)).sum())
        found = f"quadrant {q} with position {p} ({count} pixels)"
        raise ConditionError("quadrant_position labels", found, "FDI digits, or 0 and 0")
    return np.where(ignored, IGNORE, number).astype(np.uint8)


def _digits(numbers: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Split FDI numbers into stacked quadrant and position maps."""
    ignored = numbers == IGNORE
    return np.stack([np.where(ignored, IGNORE, digit) for digit in np.divmod(numbers, 10)]).astype(np.uint8)


def _counts(labels: NDArray[np.uint8], values: Iterable[int]) -> dict[int, int]:
    """Number of pixels of each of ``values`` that occurs."""
    pixels = np.bincount(labels.ravel(), minlength=256)
    return {int(value): int(pixels[value]) for value in values if pixels[value]}


def _format_counts(pixels: dict[int, int]) -> str:
    return ", ".join(f"{value} ({count} pixels)" for value, count in pixels.items())


def _scheme_name(scheme: LabelScheme, jaw: Jaw | None) -> str:
    return f"{scheme} of the {jaw} jaw" if scheme in {"per_jaw", "per_jaw_halves"} else scheme
