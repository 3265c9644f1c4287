"""What enlarged pictures are worth: closeness to the truth, detail, agreement with labels, visible restorations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dentgen.conditions.labels import IGNORE, RESTORATION, TOOTH
from dentgen.evaluation.judges import judge_labels
from dentgen.models.judge_networks import DilatedSegmenter, Segmenter
from dentgen.quality.boundaries import boundary_f1
from dentgen.quality.finding_judge import judge_finding
from dentgen.quality.map_agreement import TOLERANCE
from dentgen.quality.metrics import luminance, set_miou
from dentgen.quality.sharpness import structural_similarity

Images = NDArray[np.uint8]
Judges = Mapping[str, Segmenter | DilatedSegmenter]

#: Image size, pixels, for which the tolerance of outlines is given.
_EDGE: Final = 128
#: Restorations of fewer pixels, in a picture of 256 x 256, are not looked for.
_LEAST_PIXELS: Final = 40


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """What enlarged pictures are compared with: reference pictures and maps of the full size.

    Attributes:
        photos: (n, H, W, 3) uint8.
        tissue: (n, H, W) uint8 tissue classes, as the judges know them.
        seg: (n, H, W) uint8 classes, restorations apart.
        fdi: (n, H, W) uint8 FDI numbers.
        light: (n, H, W) uint8 lighting.
    """

    photos: Images
    tissue: Images
    seg: Images
    fdi: Images
    light: Images


@dataclass(frozen=True, slots=True)
class Score:
    """Mean over pictures, sample standard deviation over them (NaN for a single one), and their number."""

    mean: float
    spread: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float] | NDArray[np.float64]) -> Score:
        """Of finite values; NaN without any."""
        kept = np.asarray(values, np.float64)
        kept = kept[np.isfinite(kept)]
        if not len(kept):
            return cls(float("nan"), float("nan"), 0)
        return cls(float(kept.mean()), float(kept.std(ddof=1)) if len(kept) > 1 else float("nan"), len(kept))


def scores(pictures: Images, truth: Truth, judges: Judges) -> dict[str, Score]:
    """Score pictures.

    Args:
        pictures: (n, H, W, 3) uint8.
        truth: What they should be.
        judges: Segmenters of pictures of this size.

    Returns:
        By name: ``psnr``, dB; ``ssim``; ``gradient``, energy of the gradient of luminance over that of the truth;
        for every judge ``miou_JUDGE`` and ``outline_f1_JUDGE``, agreement with the labels, each per picture; and
        ``restorations``, 1 for each restored tooth that the judge of findings sees, otherwise 0.
    """
    found = {
        "psnr": Score.of(_psnr(pictures, truth.photos)),
        "ssim": Score.of(structural_similarity(pictures, truth.photos)),
        "gradient": Score.of(_gradient_energy(pictures) / _gradient_energy(truth.photos)),
    }
    for name, judge in judges.items():
        judged = judge_labels(judge, pictures)
        found[f"miou_{name}"] = Score.of([set_miou(*pair) for pair in _each(judged, truth.tissue)])
        found[f"outline_f1_{name}"] = Score.of([_outline_f1(*pair) for pair in _each(judged, truth.tissue)])
    return {**found, "restorations": Score.of(_restorations_seen(pictures, truth))}


def _psnr(pictures: Images, truth: Images) -> NDArray[np.float64]:
    """Peak signal to noise ratio of each picture, dB; infinite for equal ones."""
    error = ((pictures.astype(np.float64) - truth) ** 2).mean((1, 2, 3))
    with np.errstate(divide="ignore"):
        return np.asarray(10 * np.log10(255**2 / error))


def _gradient_energy(pictures: Images) -> NDArray[np.float64]:
    """Mean squared difference of neighbours' luminance, per picture."""
    values = luminance(pictures)
    down, right = np.diff(values, axis=1), np.diff(values, axis=2)
    return np.asarray((down**2).mean((1, 2)) + (right**2).mean((1, 2)))


def _each(judged: Images, labels: Images) -> list[tuple[Images, Images]]:
    """Pictures one by one, as sets of one."""
    return [(judged[n : n + 1], labels[n : n + 1]) for n in range(len(labels))]


def _outline_f1(judged: Images, labels: Images) -> float:
    tolerance = TOLERANCE * labels.shape[1] / _EDGE
    return boundary_f1(judged == TOOTH, labels == TOOTH, labels != IGNORE, tolerance)


def _restorations_seen(pictures: Images, truth: Truth) -> list[float]:
    """1 or 0 for each restored tooth: whether it differs from sound teeth of its picture as the judge expects."""
    seen = []
    least = _LEAST_PIXELS * truth.seg.shape[1] ** 2 / 256**2
    for picture, seg, fdi, light in zip(pictures, truth.seg, truth.fdi, truth.light, strict=True):
        for number in np.unique(fdi[seg == RESTORATION]):
            restored = (seg == RESTORATION) & (fdi == number)
            score = judge_finding(picture, restored, seg == TOOTH, "restoration", light)
            if number and restored.sum() >= least and score is not None:
                seen.append(float(score.found))
    return seen
