"""Figures of pictures with label maps, as judges see them at their own size, and fingerprints that tell copies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dentgen.conditions.labels import IGNORE, tissue_classes
from dentgen.conditions.prepare import fit_map
from dentgen.models.judges import Judges
from dentgen.quality.map_agreement import Maps
from dentgen.quality.picture_figures import picture_figures
from dentgen.records import ConditionRecord, FigureName

#: Edge of the hash: 16 x 16 signs of the lowest frequencies.
_HASH_EDGE: Final = 16
FINGERPRINT_BITS: Final = _HASH_EDGE**2
#: Judges' sizes are multiples of this.
_STEP: Final = 8
#: Pictures that are measured at a time, so that memory does not grow with their number.
_BATCH: Final = 16


def labelled_figures(
    judges: Judges, pictures: Sequence[NDArray[np.uint8]], records: Sequence[ConditionRecord]
) -> dict[FigureName, NDArray[np.float64]]:
    """Every figure but ``distinct`` of pictures.

    Pictures and maps are brought to the judges' size first, labels by nearest neighbour.

    Args:
        judges: The judges.
        pictures: (H, W, 3) uint8 each, all of one size.
        records: Their maps; without a segmentation, nothing of the labels can be compared.

    Returns:
        (n,) values by name.
    """
    return judged_pictures(judges, pictures, records)[0]


def judged_pictures(
    judges: Judges, pictures: Sequence[NDArray[np.uint8]], records: Sequence[ConditionRecord]
) -> tuple[dict[FigureName, NDArray[np.float64]], NDArray[np.uint8]]:
    """As ``labelled_figures``, with what the judges see.

    Returns:
        (n,) values by name, and tissue classes (n, h, w) at the judges' size.
    """
    parts = [
        _figures(judges, pictures[start : start + _BATCH], records[start : start + _BATCH])
        for start in range(0, len(pictures), _BATCH)
    ]
    figures = {name: np.concatenate([part[name] for part, _ in parts]) for name in parts[0][0]}
    return figures, np.concatenate([seen for _, seen in parts])


def _figures(
    judges: Judges, pictures: Sequence[NDArray[np.uint8]], records: Sequence[ConditionRecord]
) -> tuple[dict[FigureName, NDArray[np.float64]], NDArray[np.uint8]]:
    shape = judged_shape(pictures[0].shape[:2], judges.size)
    shown = np.stack([fit_map(picture, shape, "stretch", nearest=False, empty=0) for picture in pictures])
    maps = Maps(*(np.stack(parts) for parts in zip(*(_maps(record, shape) for record in records), strict=True)))
    probabilities = judges.probabilities(shown)
    return picture_figures(shown, probabilities, maps), probabilities.argmax(1).astype(np.uint8)


def judged_shape(shape: Sequence[int], size: int) -> tuple[int, int]:
    """Height and width at which judges see a picture: of its aspect ratio, and of about the area they learnt at."""
    scale = size / float(np.sqrt(shape[0] * shape[1]))
    height, width = (max(_STEP, round(edge * scale / _STEP) * _STEP) for edge in shape)
    return height, width


def _maps(record: ConditionRecord, shape: tuple[int, int]) -> tuple[NDArray[np.uint8], ...]:
    seg, light = record.conditions.get("segmentation"), record.conditions.get("lighting")
    empty = np.zeros(shape, np.uint8)
    classes = empty + IGNORE
    if seg is not None:
        classes = tissue_classes(fit_map(seg, shape, "stretch", nearest=True, empty=0).astype(np.uint8))
    fdi = empty if record.fdi is None else fit_map(record.fdi, shape, "stretch", nearest=True, empty=0)
    lighting = empty if light is None else fit_map(light, shape, "stretch", nearest=False, empty=0).astype(np.uint8)
    return classes, fdi, lighting


def fingerprint(picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Perceptual hash (256,) of a picture (H, W, 3): signs of its lowest frequencies, as ImageHash computes them."""
    import imagehash  # only builds with a gate need it

    bits: NDArray[np.bool_] = imagehash.phash(Image.fromarray(picture), hash_size=_HASH_EDGE).hash
    return bits.ravel()


def fingerprint_text(bits: NDArray[np.bool_]) -> str:
    """A fingerprint as hexadecimal digits."""
    return np.packbits(bits).tobytes().hex()


def distinctness(bits: NDArray[np.bool_], others: Sequence[NDArray[np.bool_]]) -> float:
    """Share of the bits in which a fingerprint differs from the most similar other one; NaN if there is none."""
    return float((np.stack(others) != bits).mean(1).min()) if others else float("nan")


def in_order(fingerprints: Sequence[NDArray[np.bool_]]) -> NDArray[np.float64]:
    """``distinctness`` of each from all before it, (n,)."""
    packed = np.packbits(np.stack(fingerprints), axis=1)
    differ = [np.bitwise_count(packed[:number] ^ packed[number]).sum(1) for number in range(1, len(packed))]
    return np.array([np.nan, *(bits.min() / FINGERPRINT_BITS for bits in differ)])
