"""Fidelity: do pictures obey their conditions, look like the reference pictures, vary, and heed their prompts?

Judges are trained on reference pictures of phantoms that the model never saw; generated pictures come from whole
builds. Beside the model stands a colour fill times lighting: it obeys its labels perfectly and looks like nothing, so
it shows what each figure can and cannot tell.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dentgen import storage
from dentgen.conditions.labels import colour_segmentation
from dentgen.evaluation.fidelity_sheet import best_median_worst, write_fidelity_sheet
from dentgen.evaluation.generated_images import generated_pictures, model_digest
from dentgen.evaluation.judge_cache import DEFAULT_JUDGES, JudgeSettings, kept_judge, kept_segmenters
from dentgen.evaluation.judges import Detector, DilatedSegmenter, Segmenter, judge_features, judge_labels
from dentgen.evaluation.prompt_words import word_figures
from dentgen.evaluation.reference_set import JUDGE_SEED, TEST_SEED, ReferenceSet, reference_set
from dentgen.quality.kernel_distance import kernel_distance
from dentgen.quality.map_agreement import Maps, judged_figures, seen_figures, small_teeth
from dentgen.quality.metrics import set_miou, variant_spread
from dentgen.spec.build import BuildSpec

VARIANTS: Final = 4
#: A record this far away in its set shows another mouth in another view.
_SHUFFLE: Final = 7
#: Halves of the test set between which distances are taken.
_SPLITS: Final = 50


@dataclass(frozen=True, slots=True)
class FidelitySettings:
    """Sizes of the evaluation.

    Attributes:
        work: Folder for phantoms, judges and builds; judges and phantoms serve every model.
        spec: Whose model is measured.
        test_records: Records that are measured.
        word_records: Those of them whose prompts are changed.
        judges: What judges learn from, and how long.
    """

    work: str
    spec: BuildSpec
    test_records: int = 256
    word_records: int = 64
    judges: JudgeSettings = DEFAULT_JUDGES


@dataclass(frozen=True, slots=True)
class Fidelity:
    """What was found.

    Attributes:
        figures: By name.
        sheet: PNG of the best, the median and the worst record.
        sheet_keys: These records.
    """

    figures: dict[str, float]
    sheet: str
    sheet_keys: list[str]


def measure_fidelity(settings: FidelitySettings) -> Fidelity:
    """All fidelity figures of the spec's model.

    Names say what, of which pictures (generated, reference, or the colour fill), and by which judge: without a suffix
    the U-Net, ``_dilated`` the other one. ``judged_figures`` and ``seen_figures`` explain most; ``miou_ratio`` is
    generated over reference, ``miou_shuffled`` is against other records' labels. ``kernel_distance_*``: to reference
    pictures of other mouths, in a judge's features, mean over many halves of the test set, and its spread: that of
    reference pictures among themselves is what chance does. ``detector_*``: accuracy of telling pictures from reference
    pictures, 0.5 is indistinguishable; ``detector_reference`` tells reference pictures of some mouths from those of
    others. ``spread_*``: mean standard deviation between variants in levels. ``word_*``: mean Lab values of tooth (b)
    or gum (a, L) pixels when one prompt word is exchanged and everything else is kept.
    """
    size = settings.spec.conditions.size
    learnt = reference_set(settings.work, settings.judges.records, JUDGE_SEED, size)
    test = reference_set(settings.work, settings.test_records, TEST_SEED, size)
    variants = generated_pictures(settings.work, settings.spec, test, variants=VARIANTS)
    figures: dict[str, float] = {}
    scores = np.zeros(len(test.keys))
    for name, judge in kept_segmenters(settings.work, learnt.photos, learnt.seg, settings.judges).items():
        suffix = "" if name == "unet" else f"_{name}"
        found, record_scores = _judge_figures(judge, test, variants)
        figures |= {f"{figure}{suffix}": value for figure, value in found.items()}
        scores += record_scores
    figures |= _seen_figures(test, variants)
    figures |= _detector_figures(settings, learnt, test, variants)
    figures |= word_figures(settings.work, settings.spec, test, min(settings.word_records, len(test.keys)))
    sheet = storage.join(settings.work, f"fidelity-{storage.name_of(test.source)}-{model_digest(settings.spec)}.png")
    return Fidelity(figures, sheet, write_fidelity_sheet(sheet, test, variants, best_median_worst(scores)))


def _judge_figures(
    judge: Segmenter | DilatedSegmenter, test: ReferenceSet, variants: NDArray[np.uint8]
) -> tuple[dict[str, float], NDArray[np.float64]]:
    """Figures of one judge, and mIoU of every record's generated pictures."""
    count, maps = variants.shape[1], _maps(test)
    seen = judge_labels(judge, variants.reshape(-1, *variants.shape[2:]))
    truth = maps.repeated(count)
    by_kind = {
        "generated": judged_figures(seen, truth),
        "reference": judged_figures(judge_labels(judge, test.photos), maps),
        "fill": judged_figures(judge_labels(judge, colour_fill(test.seg, test.light)), maps),
    }
    figures = {f"{name}_{kind}": value for kind, found in by_kind.items() for name, value in found.items()}
    figures["miou_ratio"] = figures["miou_generated"] / figures["miou_reference"]
    figures["miou_shuffled"] = set_miou(seen, np.repeat(np.roll(test.seg, _SHUFFLE, 0), count, 0))
    records = len(test.keys)
    pairs = zip(np.split(seen, records), np.split(truth.seg, records), strict=True)
    scores = np.array([set_miou(judged, labelled) for judged, labelled in pairs])
    return figures | _distance_figures(judge, test, variants[:, 0]), scores


def _distance_figures(
    judge: Segmenter | DilatedSegmenter, test: ReferenceSet, pictures: NDArray[np.uint8]
) -> dict[str, float]:
    """Between halves of the test set that share no mouth: pictures of the same record would lie too near."""
    real = judge_features(judge, test.photos)
    kinds = {"generated": pictures, "reference": test.photos, "fill": colour_fill(test.seg, test.light)}
    figures = {}
    for kind, images in kinds.items():
        seen = judge_features(judge, images)
        splits = [test.halves(split) for split in range(_SPLITS)]
        found = [kernel_distance(seen[first], real[second], real) for first, second in splits]
        figures[f"kernel_distance_{kind}"] = float(np.mean(found))
        figures[f"kernel_distance_{kind}_spread"] = float(np.std(found))
    return figures


def _seen_figures(test: ReferenceSet, variants: NDArray[np.uint8]) -> dict[str, float]:
    maps = _maps(test)
    seen = {
        "generated": seen_figures(variants.reshape(-1, *variants.shape[2:]), maps.repeated(variants.shape[1])),
        "reference": seen_figures(test.photos, maps),
        "fill": seen_figures(colour_fill(test.seg, test.light), maps),
    }
    figures = {f"{name}_{kind}": value for kind, found in seen.items() for name, value in found.items()}
    figures["miou_labels_shuffled"] = set_miou(test.seg, np.roll(test.seg, _SHUFFLE, 0))
    figures["teeth_counted"], figures["teeth_left_out"] = map(float, small_teeth(maps))
    figures["spread_variants"] = float(np.mean([variant_spread(v) for v in variants]))
    figures["spread_records"] = variant_spread(test.photos)
    return figures


def _maps(test: ReferenceSet) -> Maps:
    return Maps(test.seg, test.fdi, test.light)


def colour_fill(seg: NDArray[np.uint8], light: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The trivial generator: palette colours times lighting, background untouched; (n, H, W, 3)."""
    shade = np.where(seg[..., None] > 0, light[..., None] / 200.0, 1.0)
    return np.clip(colour_segmentation(seg) * shade, 0, 255).astype(np.uint8)


def _detector_figures(
    settings: FidelitySettings, learnt: ReferenceSet, test: ReferenceSet, variants: NDArray[np.uint8]
) -> dict[str, float]:
    """Accuracy on the test set of classifiers trained to tell two kinds of pictures of the judges' records apart."""
    generated = generated_pictures(settings.work, settings.spec, learnt, variants=1)[:, 0]
    (first, second), (test_first, test_second) = learnt.halves(), test.halves()
    fill, test_fill = colour_fill(learnt.seg, learnt.light), colour_fill(test.seg, test.light)
    pairs = {
        "detector_generated": ((learnt.photos, generated), (test.photos, variants[:, 0])),
        "detector_fill": ((learnt.photos, fill), (test.photos, test_fill)),
        "detector_reference": (
            (learnt.photos[first], learnt.photos[second]), (test.photos[test_first], test.photos[test_second]),
        ),
    }  # fmt: skip
    figures = {}
    for name, (training, testing) in pairs.items():
        images, truth = _two_kinds(*training)
        steps = settings.judges.detector_steps
        detector = kept_judge(settings.work, Detector, images, truth, steps=steps, seed=0, name=name)
        figures[name] = _balanced_accuracy(judge_labels(detector, np.concatenate(testing)), _two_kinds(*testing)[1])
    return figures


def _two_kinds(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    return np.concatenate([a, b]), np.repeat(np.array([0, 1], np.uint8), [len(a), len(b)])


def _balanced_accuracy(said: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float:
    """Mean of both kinds' shares told right, so that sets of different sizes make no difference."""
    return float(np.mean([(said[truth == kind] == kind).mean() for kind in (0, 1)]))


def write_figures(figures: dict[str, float], path: Path) -> None:
    """Write figures as JSON, four digits; null for what there is no figure of."""
    rounded = {name: round(value, 4) if math.isfinite(value) else None for name, value in figures.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"figures": rounded}, indent=1) + "\n")


def figure_lines(figures: dict[str, float], names: Sequence[str] | None = None) -> list[str]:
    """Figures as aligned text."""
    return [f"{name:34s} {figures[name]:9.4f}" for name in names or figures]
