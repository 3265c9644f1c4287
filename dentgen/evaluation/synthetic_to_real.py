"""Train on synthetic, test on real: what a segmenter learns from a build, and what from reference pictures.

The build is read as its users read it, through ``open_dataset``. "Real" are reference pictures of procedural jaws that
no model and no segmenter saw. Refuses to know how pictures were made.
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
from dentgen.evaluation.judge_cache import DEFAULT_JUDGES, JudgeSettings, kept_judge
from dentgen.evaluation.judges import Segmenter, judge_labels
from dentgen.evaluation.reference_set import JUDGE_SEED, TEST_SEED, ReferenceSet, reference_set
from dentgen.quality.metrics import class_ious, confusion
from dentgen.shards.dataset import open_dataset
from dentgen.spec.build import BuildSpec

_CLASSES: Final = 3


@dataclass(frozen=True, slots=True)
class SyntheticToRealSettings:
    """Sizes of the comparison.

    Attributes:
        work: Folder for phantoms, segmenters and builds, the same as for fidelity.
        spec: What is built if no build is given.
        build: A finished build to learn from; empty: one picture of each of the judges' records.
        test_records: Reference pictures that segmenters are tested on.
        judges: Most pictures that each learns from, and how long.
        seeds: Segmenters of each kind.
    """

    work: str
    spec: BuildSpec
    build: str = ""
    test_records: int = 256
    judges: JudgeSettings = DEFAULT_JUDGES
    seeds: tuple[int, ...] = (0, 1)


def measure_synthetic_to_real(settings: SyntheticToRealSettings) -> dict[str, float]:
    """IoU on unseen reference pictures of segmenters that differ only in what they learnt from.

    ``miou_synthetic``, ``miou_reference`` and their ``miou_ratio`` are means over seeds, ``..._seed0`` and so on the
    single runs; ``iou_CLASS_...`` are means over seeds for each tissue. ``records`` pictures were learnt from.

    Raises:
        SpecError: If the build's pictures have another size than the spec's.
        BuildError: If the build was not sealed.
    """
    size = settings.spec.conditions.size
    out = settings.build or _own_build(settings)
    images, seg = _read_build(out, settings.judges.records, size)
    learnt = reference_set(settings.work, len(images), JUDGE_SEED, size)
    test = reference_set(settings.work, settings.test_records, TEST_SEED, size)
    ious = {
        "synthetic": [_learn(settings, images, seg, seed, test) for seed in settings.seeds],
        "reference": [_learn(settings, learnt.photos, learnt.seg, seed, test) for seed in settings.seeds],
    }
    return {"records": float(len(images)), **_figures(ious, settings.seeds)}


def _own_build(settings: SyntheticToRealSettings) -> str:
    learnt = reference_set(settings.work, settings.judges.records, JUDGE_SEED, settings.spec.conditions.size)
    return finished_build(settings.work, settings.spec, learnt.source, variants=1)


def _read_build(out: str, most: int, size: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Pictures (n, size, size, 3) and tissue classes (n, size, size) of a build, in its order."""
    samples = list(islice(open_dataset(out), most))
    images = np.stack([sample["image"].permute(1, 2, 0).numpy() for sample in samples])
    if images.shape[1:3] != (size, size):
        raise SpecError(f"{out}: found pictures of {images.shape[2]} x {images.shape[1]}, expected {size} x {size}")
    return images, tissue_classes(np.stack([sample["seg"].numpy() for sample in samples]))


def _learn(
    settings: SyntheticToRealSettings, images: NDArray[np.uint8], seg: NDArray[np.uint8], seed: int, test: ReferenceSet
) -> NDArray[np.float64]:
    """IoU of every class on the test pictures."""
    steps = settings.judges.unet_steps
    segmenter = kept_judge(settings.work, Segmenter, images, seg, steps=steps, seed=seed, name="unet")
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
