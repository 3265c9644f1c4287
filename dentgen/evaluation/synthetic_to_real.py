"""Train on synthetic, test on real (TSTR): segmenters trained on a build against those trained on reference images.

The build is read as its users read it, through ``open_dataset``. "Real" are reference images of procedural jaws that
neither the model nor a segmenter has seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dentgen.conditions.labels import SEG_CLASSES, tissue_classes
from dentgen.errors import SpecError
from dentgen.evaluation.generated_images import finished_build
from dentgen.evaluation.judge_cache import cached_judge
from dentgen.evaluation.judge_settings import DEFAULT_JUDGES, JudgeSettings
from dentgen.evaluation.judges import judge_labels
from dentgen.evaluation.reference_set import JUDGE_SEED, TEST_SEED, ReferenceSet, reference_set
from dentgen.models.judge_networks import Segmenter
from dentgen.quality.metrics import class_ious, confusion
from dentgen.shards.dataset import open_dataset
from dentgen.spec.build import BuildSpec

_CLASSES: Final = 3


@dataclass(frozen=True, slots=True)
class SyntheticToRealSettings:
    """Sizes of the comparison.

    Attributes:
        work: Folder for phantoms, segmenters and builds, shared with the other evaluations.
        spec: Spec to build from if no build is given; its image size applies in either case.
        build: Finished build to train on; if empty, one image of each of the judges' records is built.
        test_records: Reference images to test on.
        judges: Upper bound of training images, and training steps.
        seeds: Training seeds; one segmenter of each kind per seed.
    """

    work: str
    spec: BuildSpec
    build: str = ""
    test_records: int = 256
    judges: JudgeSettings = DEFAULT_JUDGES
    seeds: tuple[int, ...] = (0, 1)


def measure_synthetic_to_real(settings: SyntheticToRealSettings) -> dict[str, float]:
    """Measure the IoU on unseen reference images of segmenters that differ only in their training images.

    Returns:
        ``miou_synthetic``, ``miou_reference`` and their ``miou_ratio``, means over seeds; single runs as
        ``miou_..._seedN``; ``iou_CLASS_...`` per tissue, means over seeds; ``records``, the number of training images.

    Raises:
        SpecError: If the build's images differ in size from the spec's.
        BuildError: If the build is not finished.
    """
    size = settings.spec.conditions.edge
    out = settings.build or _own_build(settings)
    images, seg = _read_build(out, settings.judges.records, size)
    training = reference_set(settings.work, len(images), JUDGE_SEED, size)
    test = reference_set(settings.work, settings.test_records, TEST_SEED, size)
    ious = {
        "synthetic": [_test_ious(settings, images, seg, seed, test) for seed in settings.seeds],
        "reference": [_test_ious(settings, training.photos, training.seg, seed, test) for seed in settings.seeds],
    }
    return {"records": float(len(images)), **_figures(ious, settings.seeds)}


def _own_build(settings: SyntheticToRealSettings) -> str:
    training = reference_set(settings.work, settings.judges.records, JUDGE_SEED, settings.spec.conditions.edge)
    return finished_build(settings.work, settings.spec, training.source, variants=1)


def _read_build(out: str, limit: int, size: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images (n, size, size, 3) and tissue classes (n, size, size) of a build's first samples."""
    samples = list(islice(open_dataset(out), limit))
    images = np.stack([sample["image"].permute(1, 2, 0).numpy() for sample in samples])
    if images.shape[1:3] != (size, size):
        raise SpecError(
            "wrong image size",
            file=out,
            found=f"{images.shape[2]} x {images.shape[1]}",
            expected=f"{size} x {size}",
            advice=f"--set conditions.size={images.shape[1]}" if images.shape[1] == images.shape[2] else "",
        )
    return images, tissue_classes(np.stack([sample["seg"].numpy() for sample in samples]))


def _test_ious(
    settings: SyntheticToRealSettings, images: NDArray[np.uint8], seg: NDArray[np.uint8], seed: int, test: ReferenceSet
) -> NDArray[np.float64]:
    """Train a segmenter; its IoU of every class on the test images."""
    steps = settings.judges.unet_steps
    segmenter = cached_judge(settings.work, Segmenter, images, seg, steps=steps, seed=seed, name="unet")
    return class_ious(confusion(judge_labels(segmenter, test.photos), test.seg, _CLASSES))


def _figures(ious: dict[str, list[NDArray[np.float64]]], seeds: tuple[int, ...]) -> dict[str, float]:
    figures: dict[str, float] = {}
    for kind, runs in ious.items():
        figures[f"miou_{kind}"] = float(np.mean(runs))
        figures |= {f"miou_{kind}_seed{seed}": float(run.mean()) for seed, run in zip(seeds, runs, strict=True)}
    figures["miou_ratio"] = figures["miou_synthetic"] / figures["miou_reference"]
    for value in range(_CLASSES):
        for kind, runs in ious.items():
            figures[f"iou_{SEG_CLASSES[value]}_{kind}"] = float(np.mean([run[value] for run in runs]))
    return figures
