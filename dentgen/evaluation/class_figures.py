"""Agreement of images with their maps class by class: restorations and appliances beside the tissues."""

from __future__ import annotations

from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dentgen.conditions.labels import APPLIANCE, BACKGROUND, GINGIVA, IGNORE, RESTORATION, SEG_CLASSES, TOOTH
from dentgen.evaluation.judge_cache import cached_judge
from dentgen.evaluation.judge_settings import JudgeSettings
from dentgen.evaluation.judges import judge_labels
from dentgen.evaluation.reference_set import ReferenceSet
from dentgen.models.judge_networks import Segmenter
from dentgen.quality.metrics import class_ious, confusion

#: Classes of standard phantoms, in the order of the judge's outputs.
_CLASSES: Final = (BACKGROUND, GINGIVA, TOOTH, RESTORATION, APPLIANCE)
_OUTPUT: Final = np.full(256, IGNORE, np.uint8)
_OUTPUT[list(_CLASSES)] = range(len(_CLASSES))


def class_figures(
    work: str, settings: JudgeSettings, training: ReferenceSet, test: ReferenceSet, generated: NDArray[np.uint8]
) -> dict[str, float]:
    """Measure how well a judge of five classes reads generated and reference images.

    Args:
        work: Folder or URL that caches the judge.
        settings: Its training; it takes the U-Net's steps.
        training: Records that it learns from.
        test: Records of the images.
        generated: (n, variants, H, W, 3) uint8.

    Returns:
        ``iou_CLASS_generated`` and ``iou_CLASS_reference``, 0..1, of every class that the test records show;
        ``class_miou_generated`` and ``class_miou_reference``, their means, and ``class_miou_ratio`` of the two. Means
        of test sets that show other classes cannot be compared.
    """
    judge = cached_judge(
        work, partial(Segmenter, classes=len(_CLASSES)), training.photos, _OUTPUT[training.classes],
        steps=settings.unet_steps, seed=0, name=f"unet{len(_CLASSES)}", photometric=True,
    )  # fmt: skip
    truth = _OUTPUT[test.classes]
    ious = {
        "generated": _ious(judge, generated.reshape(-1, *generated.shape[2:]), np.repeat(truth, generated.shape[1], 0)),
        "reference": _ious(judge, test.photos, truth),
    }
    shown = [output for output in range(len(_CLASSES)) if (truth == output).any()]
    figures = {f"iou_{SEG_CLASSES[_CLASSES[n]]}_{kind}": float(ious[kind][n]) for kind in ious for n in shown}
    means = {kind: float(np.mean(values[shown])) for kind, values in ious.items()}
    figures |= {f"class_miou_{kind}": mean for kind, mean in means.items()}
    return figures | {"class_miou_ratio": means["generated"] / means["reference"]}


def _ious(judge: Segmenter, images: NDArray[np.uint8], truth: NDArray[np.uint8]) -> NDArray[np.float64]:
    return class_ious(confusion(judge_labels(judge, images), truth, len(_CLASSES)))
