"""Figures of a candidate's pictures, by two judges, and what is good in each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dentgen.evaluation.judges import judge_labels
from dentgen.evaluation.mouth_distance import mouth_distance
from dentgen.evaluation.reference_set import ReferenceSet
from dentgen.evaluation.tables.spreads import Goal
from dentgen.models.judge_networks import DilatedSegmenter, Segmenter
from dentgen.quality.map_agreement import Maps, judged_figures, seen_figures
from dentgen.quality.metrics import variant_spread
from dentgen.quality.sharpness import high_frequency_energy

_BY_JUDGE: Final[Mapping[str, Goal]] = {
    "miou": "high", "boundary_f1": "high", "bleed_in": "low", "bleed_out": "low", "tooth_recall": "high",
    "kernel_distance": "low",
}  # fmt: skip
_BY_SIGHT: Final[Mapping[str, Goal]] = {"light_correlation": "high", "detail": "one", "diversity": "none"}
#: The judge whose figures have no suffix.
_FIRST_JUDGE: Final = "unet"


def goals(judges: Mapping[str, object]) -> dict[str, Goal]:
    """Name every figure of ``candidate_figures``, and what is good in it, in the order of the table's columns."""
    return {
        **{f"{figure}{_suffix(judge)}": goal for judge in judges for figure, goal in _BY_JUDGE.items()},
        **_BY_SIGHT,
    }


def candidate_figures(
    judges: Mapping[str, Segmenter | DilatedSegmenter], test: ReferenceSet, variants: NDArray[np.uint8]
) -> dict[str, float]:
    """Measure the pictures of one candidate and seed.

    Args:
        judges: Segmenters that were trained on reference pictures of other mouths, by name.
        test: Records that the pictures were made from.
        variants: (records, variants, H, W, 3) uint8 pictures.

    Returns:
        By each judge, those after the first with its name as suffix: ``miou``, ``boundary_f1``, ``bleed_in``,
        ``bleed_out``, ``tooth_recall`` as in ``judged_figures`` over all pictures; ``kernel_distance`` as in
        ``mouth_distance``, of the first variants. Without judge: ``light_correlation`` as in ``seen_figures``;
        ``detail``: high-frequency energy over that of the reference pictures; ``diversity``: mean standard deviation
        between the variants of a record, levels of 255, NaN for a single variant.
    """
    pictures = variants.reshape(-1, *variants.shape[2:])
    maps = Maps(test.seg, test.fdi, test.light).repeated(variants.shape[1])
    figures: dict[str, float] = {}
    for name, judge in judges.items():
        judged = judged_figures(judge_labels(judge, pictures), maps)
        judged["kernel_distance"], _ = mouth_distance(judge, test, variants[:, 0])
        figures |= {f"{figure}{_suffix(name)}": judged[figure] for figure in _BY_JUDGE}
    seen = seen_figures(pictures, maps)
    detail = high_frequency_energy(pictures).mean() / high_frequency_energy(test.photos).mean()
    several = variants.shape[1] > 1
    diversity = float(np.mean([variant_spread(v) for v in variants])) if several else float("nan")
    return figures | {
        "light_correlation": seen["light_correlation"], "detail": float(detail), "diversity": diversity
    }  # fmt: skip


def _suffix(judge: str) -> str:
    return "" if judge == _FIRST_JUDGE else f"_{judge}"
