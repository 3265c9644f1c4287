"""Kernel distance of pictures from reference pictures of other mouths."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from dentgen.evaluation.judges import judge_features
from dentgen.evaluation.reference_set import ReferenceSet
from dentgen.models.judge_networks import DilatedSegmenter, Segmenter
from dentgen.quality.kernel_distance import kernel_distance

#: Random halves of the test set over which distances are averaged.
_SPLITS: Final = 50


def mouth_distance(
    judge: Segmenter | DilatedSegmenter, test: ReferenceSet, pictures: NDArray[np.uint8]
) -> tuple[float, float]:
    """Distance between halves that share no mouth, because pictures of the same record would be too similar.

    Args:
        judge: Network whose features are compared.
        test: The records.
        pictures: (records, H, W, 3) uint8, one of each record.

    Returns:
        Mean over many random halves of the test set, and standard deviation; for reference pictures themselves that is
        chance level. NaN if a half has fewer than two records.
    """
    real, features = judge_features(judge, test.photos), judge_features(judge, pictures)
    splits = [test.halves(split) for split in range(_SPLITS)]
    if any(min(len(first), len(second)) < 2 for first, second in splits):
        return float("nan"), float("nan")
    distances = [kernel_distance(features[first], real[second], real) for first, second in splits]
    return float(np.mean(distances)), float(np.std(distances))
