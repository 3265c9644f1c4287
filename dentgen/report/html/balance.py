"""Class balance and sizes of teeth, measured on label maps of samples."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from PIL import Image

from dentgen.conditions.labels import IGNORE, SEG_CLASSES
from dentgen.conditions.lesion_map import LESIONS
from dentgen.report.tally import Count, Distribution
from dentgen.shards.reader import Members

#: Limits of the classes of size, area of a tooth in the picture.
_AREAS: Final = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 1.0)
_MOST_TEETH: Final = 16
_UNKNOWN: Final = "not annotated"


@dataclass(frozen=True, slots=True)
class ClassShare:
    """Pixels of a class, and samples in which it occurs."""

    name: str
    pixels: int
    samples: int


@dataclass(frozen=True, slots=True)
class LabelBalance:
    """Statistics over label maps.

    Attributes:
        shards: Shards that were read.
        samples: Samples that were measured.
        pixels: Their pixels.
        classes: Segmentation classes that occur.
        findings: Classes of the lesion maps that occur, empty without such maps.
        sizes: Teeth by area, None without numbered teeth.
        teeth: Samples by the number of teeth in the picture, None without numbered teeth.
    """

    shards: int
    samples: int
    pixels: int
    classes: tuple[ClassShare, ...]
    findings: tuple[ClassShare, ...]
    sizes: Distribution | None
    teeth: Distribution | None


class BalanceCounter:
    """Counts that grow sample by sample."""

    def __init__(self) -> None:
        """Start at zero."""
        self._shards: set[str] = set()
        self._samples = self._total = 0
        self._pixels = {"seg": Counter[int](), "lesion": Counter[int]()}
        self._present = {"seg": Counter[int](), "lesion": Counter[int]()}
        self._areas: list[float] = []
        self._teeth: Counter[int] = Counter()

    def add(self, shard: str, members: Members) -> None:
        """Count a sample's ``seg``, ``fdi`` and ``lesion`` maps, those that it has."""
        self._shards.add(shard)
        self._samples += 1
        for name in ("seg", "lesion"):
            if f"{name}.png" in members:
                self._add_classes(name, members[f"{name}.png"])
        if "fdi.png" in members:
            areas = list(_areas(members["fdi.png"]))
            self._areas += areas
            self._teeth[min(len(areas), _MOST_TEETH)] += 1

    def _add_classes(self, name: str, content: bytes) -> None:
        values, counts = np.unique(_labels(content), return_counts=True)
        self._pixels[name].update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
        self._present[name].update(values.tolist())
        if name == "seg":
            self._total += int(counts.sum())

    def balance(self) -> LabelBalance:
        """The statistics."""
        return LabelBalance(
            shards=len(self._shards),
            samples=self._samples,
            pixels=self._total,
            classes=self._shares("seg", {**SEG_CLASSES, IGNORE: _UNKNOWN}),
            findings=self._shares("lesion", {**LESIONS, IGNORE: _UNKNOWN}),
            sizes=_sizes(self._areas),
            teeth=_tooth_counts(self._teeth),
        )

    def _shares(self, name: str, names: dict[int, str]) -> tuple[ClassShare, ...]:
        pixels, present = self._pixels[name], self._present[name]
        return tuple(ClassShare(names[value], pixels[value], present[value]) for value in names if pixels[value])


def _labels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


def _areas(content: bytes) -> Iterator[float]:
    """Share of the picture that each numbered tooth takes."""
    labels = _labels(content)
    numbers, counts = np.unique(labels, return_counts=True)
    yield from (float(count) / labels.size for number, count in zip(numbers, counts, strict=True) if number)


def _sizes(areas: list[float]) -> Distribution | None:
    if not areas:
        return None
    counts, _ = np.histogram(areas, _AREAS)
    names = [f"{100 * low:g}-{100 * high:g} %" for low, high in pairwise(_AREAS)]
    names[0], names[-1] = f"under {100 * _AREAS[1]:g} %", f"{100 * _AREAS[-2]:g} % and more"
    listed = tuple(Count(name, int(count)) for name, count in zip(names, counts, strict=True))
    return Distribution("Teeth by their area in the picture", listed, len(areas))


def _tooth_counts(teeth: Counter[int]) -> Distribution | None:
    if not any(teeth[number] for number in teeth if number):
        return None
    listed = tuple(
        Count(f"{number} and more" if number == _MOST_TEETH else str(number), teeth[number])
        for number in range(min(teeth), max(teeth) + 1)
    )
    return Distribution("Pictures by their number of teeth", listed, teeth.total())
