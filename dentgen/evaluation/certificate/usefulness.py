"""The usefulness section: segmenters learn on the dataset, and are tested on labelled pictures that its user trusts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dentgen.conditions.labels import SEG_CLASSES, tissue_classes
from dentgen.errors import ConditionError
from dentgen.evaluation.judges import judge_labels, train_judge
from dentgen.models.judge_networks import Segmenter
from dentgen.pipeline.planned_gate import labelled_records
from dentgen.quality.metrics import class_ious, confusion
from dentgen.records import ConditionRecord
from dentgen.seeding import numpy_generator

_CLASSES: Final = 3
#: Pictures of the reference that are read at most.
MOST_REFERENCE: Final = 2000


@dataclass(frozen=True, slots=True, eq=False)
class LabelledSet:
    """Pictures with tissue classes.

    Attributes:
        photos: (n, H, W, 3) uint8.
        seg: (n, H, W) uint8 tissue classes.
        groups: Patient of each.
    """

    photos: NDArray[np.uint8]
    seg: NDArray[np.uint8]
    groups: tuple[str, ...]

    def of(self, numbers: NDArray[np.intp]) -> LabelledSet:
        """Some of them."""
        return LabelledSet(self.photos[numbers], self.seg[numbers], tuple(self.groups[i] for i in numbers))

    def digest(self) -> str:
        """sha256 of pictures and classes."""
        digest = hashlib.sha256(repr((self.photos.shape, self.groups)).encode())
        digest.update(self.photos.tobytes() + self.seg.tobytes())
        return digest.hexdigest()


def read_labelled(source: str, shape: tuple[int, int], most: int) -> LabelledSet:
    """Pictures of a finished build or of condition records with photos.

    Raises:
        ConditionError: If there are fewer than two.
    """
    records = list(islice(labelled_records(source, shape), most))
    if len(records) < 2:
        raise ConditionError(source, f"{len(records)} labelled pictures", "two at least")
    photos = np.stack([record.photo for record in records if record.photo is not None])
    return LabelledSet(photos, _classes(records), tuple(record.group for record in records))


def usefulness(dataset: LabelledSet, reference: LabelledSet, steps: int, seeds: Sequence[int]) -> dict[str, float]:
    """IoU, on one half of the reference, of segmenters that learnt on the dataset or on the reference's other half.

    Halves share no patient; training is equal but for the pictures.

    Args:
        dataset: Pictures of the dataset.
        reference: Pictures to trust.
        steps: Training steps of 8 pictures.
        seeds: One segmenter of each kind per seed.

    Returns:
        ``miou_dataset`` and ``miou_reference``, means over seeds, with ``_spread``, the standard deviation;
        ``iou_CLASS_...``; numbers of pictures.

    Raises:
        ConditionError: If all of the reference is of one patient.
    """
    first, second = _halves(reference)
    sets = {"dataset": dataset, "reference": first, "test": second}
    figures: dict[str, float] = {f"pictures_{name}": len(one.photos) for name, one in sets.items()}
    for kind, training in (("dataset", dataset), ("reference", first)):
        runs = np.array([_test(training, second, steps, seed) for seed in seeds])
        mious = np.nanmean(runs, 1)
        figures |= {f"miou_{kind}": float(mious.mean()), f"miou_{kind}_spread": float(mious.std())}
        figures |= {f"iou_{SEG_CLASSES[value]}_{kind}": float(runs[:, value].mean()) for value in range(_CLASSES)}
    figures["miou_ratio"] = figures["miou_dataset"] / figures["miou_reference"]
    return figures


def _test(training: LabelledSet, test: LabelledSet, steps: int, seed: int) -> NDArray[np.float64]:
    segmenter = train_judge(Segmenter, training.photos, training.seg, steps=steps, seed=seed, name="certificate")
    return class_ious(confusion(judge_labels(segmenter, test.photos), test.seg, _CLASSES))


def _halves(reference: LabelledSet) -> tuple[LabelledSet, LabelledSet]:
    groups = sorted(set(reference.groups))
    if len(groups) < 2:
        raise ConditionError("the reference", "pictures of one patient", "two at least, to learn and to test on")
    drawn = numpy_generator("certificate halves").permutation(len(groups))[: len(groups) // 2]
    chosen = {groups[index] for index in drawn}
    is_first = np.array([group in chosen for group in reference.groups], bool)
    return reference.of(np.flatnonzero(is_first)), reference.of(np.flatnonzero(~is_first))


def _classes(records: Sequence[ConditionRecord]) -> NDArray[np.uint8]:
    return tissue_classes(np.stack([record.conditions["segmentation"] for record in records]).astype(np.uint8))
