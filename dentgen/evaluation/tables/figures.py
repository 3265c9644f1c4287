"""Figures of a candidate's pictures, by two judges, and what is good in each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dentgen.conditions.prepare import fit_map
from dentgen.evaluation.judges import judge_labels
from dentgen.evaluation.mouth_distance import mouth_distance
from dentgen.evaluation.reference_set import ReferenceSet
from dentgen.evaluation.tables.spreads import Goal
from dentgen.models.judges import Judges
from dentgen.quality.labelled_pictures import judged_shape
from dentgen.quality.map_agreement import Maps, judged_figures, seen_figures
from dentgen.quality.metrics import variant_spread
from dentgen.quality.sharpness import high_frequency_energy

_BY_JUDGE: Final[Mapping[str, Goal]] = {
    "miou": "high", "boundary_f1": "high", "bleed_in": "low", "bleed_out": "low", "tooth_recall": "high",
    "kernel_distance": "low",
}  # fmt: skip
_BY_SIGHT: Final[Mapping[str, Goal]] = {"light_correlation": "high", "detail": "one", "diversity": "none"}
#: What is good in every figure, by its name without a judge's.
GOALS: Final[Mapping[str, Goal]] = {**_BY_JUDGE, **_BY_SIGHT}
#: The judge whose figures have no suffix.
_FIRST_JUDGE: Final = "unet"


def goals(judges: Mapping[str, object]) -> dict[str, Goal]:
    """Name every figure of ``candidate_figures``, and what is good in it, in the order of the table's columns."""
    return {
        **{f"{figure}{_suffix(judge)}": goal for judge in judges for figure, goal in _BY_JUDGE.items()},
        **_BY_SIGHT,
    }


def candidate_figures(judges: Judges, test: ReferenceSet, variants: NDArray[np.uint8]) -> dict[str, float]:
    """Measure the pictures of one candidate and seed.

    Judges see pictures and maps at their own size, as in ``labelled_figures``; the other figures are of the pictures
    as they are.

    Args:
        judges: Segmenters that were trained on reference pictures of other mouths.
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
    shape = judged_shape(variants.shape[2:4], judges.size)
    seen_test, shown = _resized_set(test, shape), _resized(pictures, shape)
    seen_maps = Maps(seen_test.seg, seen_test.fdi, seen_test.light).repeated(variants.shape[1])
    figures: dict[str, float] = {}
    for name, judge in judges.networks.items():
        judged = judged_figures(judge_labels(judge, shown), seen_maps)
        judged["kernel_distance"], _ = mouth_distance(judge, seen_test, shown[:: variants.shape[1]])
        figures |= {f"{figure}{_suffix(name)}": judged[figure] for figure in _BY_JUDGE}
    seen = seen_figures(pictures, maps)
    detail = high_frequency_energy(pictures).mean() / high_frequency_energy(test.photos).mean()
    several = variants.shape[1] > 1
    diversity = float(np.mean([variant_spread(v) for v in variants])) if several else float("nan")
    return figures | {
        "light_correlation": seen["light_correlation"], "detail": float(detail), "diversity": diversity
    }  # fmt: skip


def _resized_set(test: ReferenceSet, shape: tuple[int, int]) -> ReferenceSet:
    """The same records at another height and width."""
    return replace(
        test,
        photos=_resized(test.photos, shape),
        seg=_resized(test.seg, shape, nearest=True),
        fdi=_resized(test.fdi, shape, nearest=True),
        light=_resized(test.light, shape),
    )


def _resized(arrays: NDArray[np.uint8], shape: tuple[int, int], *, nearest: bool = False) -> NDArray[np.uint8]:
    return np.stack([fit_map(array, shape, "stretch", nearest=nearest, empty=0) for array in arrays])


def _suffix(judge: str) -> str:
    return "" if judge == _FIRST_JUDGE else f"_{judge}"
