"""Faults that are planted in labelled pictures, to see which of them a quality gate catches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dentgen.records import ConditionRecord
from dentgen.seeding import numpy_generator

Picture = NDArray[np.uint8]
#: Image size, pixels, for which lengths are given; they grow with the picture.
_EDGE: Final = 128
_BLUR: Final = 2.5
_SHIFT: Final = 3.0
#: Levels of noise in a copy, as another encoding would leave.
_COPY_NOISE: Final = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """A picture and the maps that it should follow.

    Attributes:
        picture: (H, W, 3) uint8.
        record: The maps.
        original: Place, among the clean pictures, of the one whose place a faulty one takes; None for clean ones, and
            for copies, whose original is still there.
    """

    picture: Picture
    record: ConditionRecord
    original: int | None = None


Fault = Callable[[Sequence[Labelled], int, np.random.Generator], Labelled]


def plant_faults(clean: Sequence[Labelled], each: int, seed: int = 0) -> dict[str, list[Labelled]]:
    """Faulty versions of clean pictures, by the name of the fault.

    Args:
        clean: Clean pictures, in the order in which they were made, all of one size.
        each: Faulty pictures of every kind, drawn without repetition.
        seed: Names the draw.

    Returns:
        ``swapped``: labels of another mouth. ``blurred``: by 2.5 px. ``shifted``: by 3 px. ``black``. ``collapsed``:
        the mean of all pictures. ``duplicated``: a copy of a picture with the copied labels. Lengths are for an image
        size of 128.
    """
    planted = {}
    for name, fault in FAULTS.items():
        rng = numpy_generator("planted faults", seed, name)
        chosen = rng.choice(len(clean), size=min(each, len(clean)), replace=False)
        faulty = [(number, fault(clean, int(number), rng)) for number in sorted(chosen)]
        planted[name] = [one if name == "duplicated" else replace(one, original=int(number)) for number, one in faulty]
    return planted


def _swapped(clean: Sequence[Labelled], number: int, rng: np.random.Generator) -> Labelled:
    own = clean[number].record
    others = [one.record for one in clean if one.record.group != own.group]
    other = others[int(rng.integers(len(others)))] if others else own
    return replace(clean[number], record=other)


def _blurred(clean: Sequence[Labelled], number: int, _: np.random.Generator) -> Labelled:
    picture = clean[number].picture
    width = _BLUR * _scale(picture)
    blurred = ndimage.gaussian_filter(picture.astype(np.float64), (width, width, 0))
    return replace(clean[number], picture=np.round(blurred).astype(np.uint8))


def _shifted(clean: Sequence[Labelled], number: int, rng: np.random.Generator) -> Labelled:
    """Moved to one of eight sides; what comes in repeats the border."""
    picture = clean[number].picture
    angle = rng.integers(8) * np.pi / 4
    offset = np.round(_SHIFT * _scale(picture) * np.array([np.sin(angle), np.cos(angle)]))
    moved = ndimage.shift(picture, (*offset, 0), order=0, mode="nearest")
    return replace(clean[number], picture=moved)


def _black(clean: Sequence[Labelled], number: int, _: np.random.Generator) -> Labelled:
    return replace(clean[number], picture=np.zeros_like(clean[number].picture))


def _collapsed(clean: Sequence[Labelled], number: int, _: np.random.Generator) -> Labelled:
    mean: NDArray[np.float64] = np.mean(np.stack([one.picture for one in clean]), 0)
    return replace(clean[number], picture=np.round(mean).astype(np.uint8))


def _duplicated(clean: Sequence[Labelled], number: int, rng: np.random.Generator) -> Labelled:
    source = clean[number]
    noise = rng.normal(0, _COPY_NOISE, source.picture.shape)
    return replace(source, picture=np.clip(np.round(source.picture + noise), 0, 255).astype(np.uint8))


def _scale(picture: Picture) -> float:
    return float(np.sqrt(picture.shape[0] * picture.shape[1])) / _EDGE


FAULTS: Final[Mapping[str, Fault]] = {
    "swapped": _swapped,
    "blurred": _blurred,
    "shifted": _shifted,
    "black": _black,
    "collapsed": _collapsed,
    "duplicated": _duplicated,
}
