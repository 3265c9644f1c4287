"""Scores of predictions on labelled photographs: tooth pixels, single teeth, lesions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, label

from dentgen.conditions.labels import IGNORE
from dentgen.evaluation.photos.labelled_images import YES, LabelledImages

#: Smallest predicted tooth, as a share of the picture.
_SMALLEST_TOOTH = 1e-3
#: Probabilities of a border at which regions are split, one after the other.
_LEVELS = tuple(np.arange(0.7, 0.05, -0.05).round(2).tolist())
_MATCHING_IOU = 0.5
_CLOSE_UP_TEETH = 4


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of n photographs.

    Attributes:
        tooth_iou: (n,) IoU of tooth pixels.
        matched, found, true: (n,) teeth that match one of the labels with an IoU above 0.5, predicted teeth, and
            labelled ones.
        lesion_hits, lesion_union: (n,) pixels in both prediction and label, and in either.
        lesion_precision: Average precision of lesion pixels over all photographs.
    """

    tooth_iou: NDArray[np.float64]
    matched: NDArray[np.int64]
    found: NDArray[np.int64]
    true: NDArray[np.int64]
    lesion_hits: NDArray[np.int64]
    lesion_union: NDArray[np.int64]
    lesion_precision: float

    def figures(self) -> dict[str, float]:
        """Means over the photographs.

        Returns:
            ``iou`` of teeth; ``iou_close_ups``, the same over photographs of at most four teeth, if there are any;
            ``instance_f1``, the F1 of single teeth at an IoU of 0.5 over all photographs, and
            ``instance_count_error``, the mean difference in number; ``lesion_iou`` and ``lesion_ap``, the average
            precision, over all pixels. The latter needs no threshold, so it does not depend on how frequent lesions
            were in training.
        """
        matched = int(self.matched.sum())
        close = (self.true > 0) & (self.true <= _CLOSE_UP_TEETH)
        return {
            "iou": float(self.tooth_iou.mean()),
            **({"iou_close_ups": float(self.tooth_iou[close].mean())} if close.any() else {}),
            "instance_f1": 2 * matched / max(int(self.found.sum() + self.true.sum()), 1),
            "instance_count_error": float(np.abs(self.found - self.true).mean()),
            "lesion_iou": float(self.lesion_hits.sum() / max(int(self.lesion_union.sum()), 1)),
            "lesion_ap": self.lesion_precision,
        }


def score(probabilities: NDArray[np.float32], truth: LabelledImages) -> Scores:
    """Score predictions.

    Args:
        probabilities: (n, channels, S, S), the first three of tooth, border and lesion.
        truth: The n labelled photographs.
    """
    rows = [_score_one(each, truth, place) for place, each in enumerate(probabilities)]
    iou, matched, found, true, hits, union = (np.array(column) for column in zip(*rows, strict=True))
    known = truth.lesion != IGNORE
    precision = average_precision(probabilities[:, 2][known], truth.lesion[known] == YES)
    return Scores(iou, matched, found, true, hits, union, precision)


def average_precision(probabilities: NDArray[np.floating[Any]], truth: NDArray[np.bool_]) -> float:
    """Mean precision over all true elements, each at the threshold of its own probability; 0 if none is true.

    Args:
        probabilities: (m,).
        truth: (m,).
    """
    order = np.argsort(-probabilities, kind="stable")
    ranked, values = truth[order], probabilities[order]
    last = np.append(values[1:] != values[:-1], True)  # equal probabilities share one threshold
    hits, found = np.cumsum(ranked)[last], np.flatnonzero(last) + 1
    gained = np.diff(hits, prepend=0)
    return float((gained * hits / found).sum() / max(int(truth.sum()), 1))


def _score_one(
    probability: NDArray[np.float32], truth: LabelledImages, place: int
) -> tuple[float, int, int, int, int, int]:
    known = truth.tooth[place] != IGNORE
    tooth = (probability[0] > 0.5) & known
    real = truth.tooth[place] == YES
    union = (tooth | real).sum()
    iou = (tooth & real).sum() / union if union else 1.0
    instances = separate_teeth(probability[0] * known, probability[1])
    matched = _matches(instances, truth.instances[place])
    lesion, diseased = (probability[2] > 0.5) & known, truth.lesion[place] == YES
    count = int(instances.max()), len(np.unique(truth.instances[place])) - int((truth.instances[place] == 0).any())
    return float(iou), matched, *count, int((lesion & diseased).sum()), int((lesion | diseased).sum())


def separate_teeth(tooth: NDArray[np.float32], border: NDArray[np.float32]) -> NDArray[np.int32]:
    """Number the teeth (S, S) of a picture.

    A region of teeth is split wherever ever fainter borders, down to a probability of .1, part pieces of at least
    ``_SMALLEST_TOOTH``; what is left at the borders then goes to the nearest piece.
    """
    mask = tooth > 0.5
    least = _SMALLEST_TOOTH * mask.size
    pieces = _split(mask, least)
    for level in _LEVELS:
        pieces = [part for piece in pieces for part in _parted(piece, border < level, least)]
    return _grown(pieces, mask)


def _parted(piece: NDArray[np.bool_], inside: NDArray[np.bool_], least: float) -> list[NDArray[np.bool_]]:
    """The parts of a piece that lie inside teeth, or the piece as it was where they are not two at least."""
    parts = _split(piece & inside, least)
    return parts if len(parts) > 1 else [piece]


def _split(region: NDArray[np.bool_], least: float) -> list[NDArray[np.bool_]]:
    """Connected parts of at least so many pixels."""
    parts, count = label(region)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    return [parts == number for number in range(1, count + 1) if sizes[number] >= least]


def _grown(pieces: list[NDArray[np.bool_]], mask: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Numbers (S, S) of the pieces, grown within the mask's regions that hold one."""
    cores = np.zeros(mask.shape, np.int32)
    for number, piece in enumerate(pieces, 1):
        cores[piece] = number
    if not pieces:
        return cores
    nearest = distance_transform_edt(cores == 0, return_distances=False, return_indices=True)
    whole, _ = label(mask)
    held = np.isin(whole, np.unique(whole[cores > 0]))  # a speck far from all cores belongs to no tooth
    grown: NDArray[np.int32] = np.where(mask & held, cores[tuple(nearest)], 0).astype(np.int32)
    return grown


def _matches(found: NDArray[np.int32], true: NDArray[np.uint8]) -> int:
    """Number of pairs of a predicted and a labelled tooth with an IoU above 0.5, of which each has at most one."""
    together = np.zeros((int(found.max()) + 1, 256), np.int64)
    np.add.at(together, (found.ravel(), true.ravel()), 1)
    union = together.sum(1, keepdims=True) + together.sum(0, keepdims=True) - together
    iou = together[1:, 1:] / np.maximum(union[1:, 1:], 1)
    return int((iou > _MATCHING_IOU).sum())
