"""Fidelity: do images match their maps, resemble the reference images, vary, and follow their prompts?

The judges are trained on reference images of phantoms that the model never saw; generated images come from complete
builds. Most figures are also taken of a baseline, a colour fill times lighting, which matches its labels perfectly and
looks like nothing, and so shows what the figure can and cannot tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dentgen import storage
from dentgen.conditions.labels import colour_segmentation
from dentgen.evaluation.class_figures import class_figures
from dentgen.evaluation.fidelity_sheet import best_median_worst, write_fidelity_sheet
from dentgen.evaluation.generated_images import generated_images, model_digest
from dentgen.evaluation.judge_cache import cached_judge, cached_segmenters
from dentgen.evaluation.judge_settings import DEFAULT_JUDGES, JudgeSettings
from dentgen.evaluation.judges import Detector, judge_labels
from dentgen.evaluation.mouth_distance import mouth_distance
from dentgen.evaluation.prompt_words import word_figures
from dentgen.evaluation.reference_set import JUDGE_SEED, TEST_SEED, ReferenceSet, reference_set
from dentgen.models.judge_networks import DilatedSegmenter, Segmenter
from dentgen.quality.map_agreement import Maps, judged_figures, seen_figures, small_teeth
from dentgen.quality.metrics import set_miou, variant_spread
from dentgen.spec.build import BuildSpec

VARIANTS: Final = 4
#: A record this far away in its set shows another mouth in another view.
_SHUFFLE: Final = 7


@dataclass(frozen=True, slots=True)
class FidelitySettings:
    """Sizes of the evaluation.

    Attributes:
        work: Folder for phantoms, judges and builds; phantoms and judges are shared by all models.
        spec: Spec whose model is measured.
        test_records: Records to measure on.
        word_records: How many of them get changed prompts.
        judges: Training of the judges.
    """

    work: str
    spec: BuildSpec
    test_records: int = 256
    word_records: int = 64
    judges: JudgeSettings = DEFAULT_JUDGES


@dataclass(frozen=True, slots=True)
class Fidelity:
    """Result of the evaluation.

    Attributes:
        figures: Figures by name.
        sheet: PNG of the best, the median and the worst record.
        sheet_keys: Keys of these records.
    """

    figures: dict[str, float]
    sheet: str
    sheet_keys: list[str]


def measure_fidelity(settings: FidelitySettings) -> Fidelity:
    """Measure all fidelity figures of the spec's model.

    A name says what is measured, on which images (generated, reference, or the colour ``fill``), and by which judge:
    the U-Net without a suffix, the other one with ``_dilated``. ``judged_figures`` and ``seen_figures`` explain most;
    ``iou_*`` and ``class_miou_*`` come from a third judge and are explained by ``class_figures``.

    * ``miou_ratio``: generated over reference; ``miou_shuffled``: against other records' labels;
      ``miou_labels_shuffled``: of labels against other records' labels.
    * ``kernel_distance_*``: to reference images of other mouths, in a judge's features, mean over many random halves of
      the test set; ``_spread`` is the standard deviation over halves. That of the reference images is chance level.
    * ``detector_*``: balanced accuracy of a classifier trained to tell images from reference images; 0.5 is
      indistinguishable. ``detector_reference`` tells reference images of some mouths from those of others.
    * ``spread_*``: mean standard deviation between variants, levels of 255.
    * ``word_*``: mean Lab values of tooth (b) or gum (a, L) pixels when one prompt word is replaced.

    Raises:
        BuildError: If the model fails on a record.
    """
    size = settings.spec.conditions.edge
    training = reference_set(settings.work, settings.judges.records, JUDGE_SEED, size)
    test = reference_set(settings.work, settings.test_records, TEST_SEED, size)
    variants = generated_images(settings.work, settings.spec, test, variants=VARIANTS)
    figures: dict[str, float] = {}
    scores = np.zeros(len(test.keys))
    for name, judge in cached_segmenters(settings.work, training.photos, training.seg, settings.judges).items():
        suffix = "" if name == "unet" else f"_{name}"
        by_judge, record_scores = _judge_figures(judge, test, variants)
        figures |= {f"{figure}{suffix}": value for figure, value in by_judge.items()}
        scores += record_scores
    figures |= class_figures(settings.work, settings.judges, training, test, variants)
    figures |= _seen_figures(test, variants)
    figures |= _detector_figures(settings, training, test, variants)
    figures |= word_figures(settings.work, settings.spec, test, min(settings.word_records, len(test.keys)))
    sheet = storage.join(settings.work, f"fidelity-{storage.name_of(test.source)}-{model_digest(settings.spec)}.png")
    return Fidelity(figures, sheet, write_fidelity_sheet(sheet, test, variants, best_median_worst(scores)))


def _judge_figures(
    judge: Segmenter | DilatedSegmenter, test: ReferenceSet, variants: NDArray[np.uint8]
) -> tuple[dict[str, float], NDArray[np.float64]]:
    """Figures of one judge, and the mIoU of every record's generated images."""
    count, maps = variants.shape[1], _maps(test)
    judged = judge_labels(judge, variants.reshape(-1, *variants.shape[2:]))
    truth = maps.repeated(count)
    by_kind = {
        "generated": judged_figures(judged, truth),
        "reference": judged_figures(judge_labels(judge, test.photos), maps),
        "fill": judged_figures(judge_labels(judge, colour_fill(test.seg, test.light)), maps),
    }
    figures = {f"{name}_{kind}": value for kind, values in by_kind.items() for name, value in values.items()}
    figures["miou_ratio"] = figures["miou_generated"] / figures["miou_reference"]
    figures["miou_shuffled"] = set_miou(judged, np.repeat(np.roll(test.seg, _SHUFFLE, 0), count, 0))
    records = len(test.keys)
    pairs = zip(np.split(judged, records), np.split(truth.seg, records), strict=True)
    scores = np.array([set_miou(predicted, labels) for predicted, labels in pairs])
    return figures | _distance_figures(judge, test, variants[:, 0]), scores


def _distance_figures(
    judge: Segmenter | DilatedSegmenter, test: ReferenceSet, generated: NDArray[np.uint8]
) -> dict[str, float]:
    kinds = {"generated": generated, "reference": test.photos, "fill": colour_fill(test.seg, test.light)}
    figures = {}
    for kind, images in kinds.items():
        figures[f"kernel_distance_{kind}"], figures[f"kernel_distance_{kind}_spread"] = mouth_distance(
            judge, test, images
        )
    return figures


def _seen_figures(test: ReferenceSet, variants: NDArray[np.uint8]) -> dict[str, float]:
    maps = _maps(test)
    by_kind = {
        "generated": seen_figures(variants.reshape(-1, *variants.shape[2:]), maps.repeated(variants.shape[1])),
        "reference": seen_figures(test.photos, maps),
        "fill": seen_figures(colour_fill(test.seg, test.light), maps),
    }
    figures = {f"{name}_{kind}": value for kind, values in by_kind.items() for name, value in values.items()}
    figures["miou_labels_shuffled"] = set_miou(test.seg, np.roll(test.seg, _SHUFFLE, 0))
    figures["teeth_counted"], figures["teeth_left_out"] = map(float, small_teeth(maps))
    figures["spread_variants"] = float(np.mean([variant_spread(v) for v in variants]))
    figures["spread_records"] = variant_spread(test.photos)
    return figures


def _maps(test: ReferenceSet) -> Maps:
    return Maps(test.seg, test.fdi, test.light)


def colour_fill(seg: NDArray[np.uint8], light: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Generate the trivial baseline: palette colours times lighting, background unshaded.

    Args:
        seg: (n, H, W) uint8 tissue classes.
        light: (n, H, W) uint8 lighting.

    Returns:
        (n, H, W, 3) uint8.
    """
    shade = np.where(seg[..., None] > 0, light[..., None] / 200.0, 1.0)
    return np.clip(colour_segmentation(seg) * shade, 0, 255).astype(np.uint8)


def _detector_figures(
    settings: FidelitySettings, training: ReferenceSet, test: ReferenceSet, variants: NDArray[np.uint8]
) -> dict[str, float]:
    """Test accuracy of classifiers that are trained, on the judges' records, to tell two kinds of images apart."""
    generated = generated_images(settings.work, settings.spec, training, variants=1)[:, 0]
    (first, second), (test_first, test_second) = training.halves(), test.halves()
    fill, test_fill = colour_fill(training.seg, training.light), colour_fill(test.seg, test.light)
    pairs = {
        "detector_generated": ((training.photos, generated), (test.photos, variants[:, 0])),
        "detector_fill": ((training.photos, fill), (test.photos, test_fill)),
        "detector_reference": (
            (training.photos[first], training.photos[second]), (test.photos[test_first], test.photos[test_second]),
        ),
    }  # fmt: skip
    figures = {}
    for name, (train_pair, test_pair) in pairs.items():
        images, truth = _two_kinds(*train_pair)
        steps = settings.judges.detector_steps
        detector = cached_judge(settings.work, Detector, images, truth, steps=steps, seed=0, name=name)
        figures[name] = _balanced_accuracy(judge_labels(detector, np.concatenate(test_pair)), _two_kinds(*test_pair)[1])
    return figures


def _two_kinds(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    return np.concatenate([a, b]), np.repeat(np.array([0, 1], np.uint8), [len(a), len(b)])


def _balanced_accuracy(predicted: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float:
    """Mean of the two classes' recalls, independent of their sizes."""
    return float(np.mean([(predicted[truth == kind] == kind).mean() for kind in (0, 1)]))
