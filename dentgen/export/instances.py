"""Every labelled thing of a sample as a mask of its own, so that all masks together give its label maps back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dentgen.conditions.labels import BACKGROUND, FDI_NUMBERS, IGNORE, RESTORATION, SEG_CLASSES, TOOTH
from dentgen.conditions.lesion_map import LESIONS

_CLASS, _LESION = 100, 400


@dataclass(frozen=True, slots=True)
class Category:
    """A category of things: its number, its name, and the name of its kind."""

    id: int
    name: str
    supercategory: str


@dataclass(frozen=True, slots=True, eq=False)
class Instance:
    """One labelled thing.

    Attributes:
        category: Number of its category: an FDI number, or see ``class_category`` and ``lesion_category``.
        mask: (H, W) bool.
        tooth: FDI number of the tooth that it is, or is on; 0 for none.
        is_crowd: Whether it is an area that was not annotated.
    """

    category: int
    mask: NDArray[np.bool_]
    tooth: int = 0
    is_crowd: bool = False


def class_category(value: int) -> int:
    """Category of a segmentation class."""
    return _CLASS + value


def lesion_category(value: int) -> int:
    """Category of a lesion."""
    return _LESION + value


def categories() -> list[Category]:
    """All categories: every tooth by its FDI number, the segmentation classes, the lesions."""
    teeth = [Category(number, f"tooth {number}", "tooth") for number in sorted(FDI_NUMBERS)]
    names = {**SEG_CLASSES, TOOTH: "tooth without a number"}
    classes = [Category(class_category(value), name, "class") for value, name in names.items()]
    lesions = [Category(lesion_category(value), name, "finding") for value, name in LESIONS.items() if value]
    return [*teeth, *classes, *lesions]


def instances_of(
    seg: NDArray[np.uint8], fdi: NDArray[np.uint8], lesion: NDArray[np.uint8] | None
) -> Iterator[Instance]:
    """Take a sample's label maps, each (H, W) uint8, apart.

    Teeth are the areas of FDI numbers. Of a class there is one instance for a picture, of restorations and lesions one
    for a tooth. Where class and number disagree, the class has an instance that says so: nothing is lost.
    """
    yield from tooth_instances(fdi)
    implied = np.where(fdi > 0, TOOTH, BACKGROUND)
    for value in _values(seg, also=BACKGROUND):
        yield from _of_class(value, (seg == value) & (implied != value), fdi)
    if lesion is not None:
        for value in _values(lesion):
            yield from _by_tooth(lesion_category(value), lesion == value, fdi, is_crowd=value == IGNORE)


def tooth_instances(fdi: NDArray[np.uint8]) -> Iterator[Instance]:
    """The teeth of a map of FDI numbers (H, W) uint8."""
    for number in _values(fdi):
        yield Instance(number, fdi == number, number)


def _values(labels: NDArray[np.uint8], also: int | None = None) -> list[int]:
    return sorted({*np.unique(labels).tolist()} - {0} | ({also} if also is not None else set()))


def _of_class(value: int, mask: NDArray[np.bool_], fdi: NDArray[np.uint8]) -> Iterator[Instance]:
    if not mask.any():
        return
    if value == RESTORATION:
        yield from _by_tooth(class_category(value), mask, fdi)
    else:
        yield Instance(class_category(value), mask, is_crowd=value == IGNORE)


def _by_tooth(
    category: int, mask: NDArray[np.bool_], fdi: NDArray[np.uint8], *, is_crowd: bool = False
) -> Iterator[Instance]:
    for tooth in np.unique(fdi[mask]).tolist():
        yield Instance(category, mask & (fdi == tooth), tooth, is_crowd)
