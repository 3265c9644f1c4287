"""Fidelity: do pictures obey their conditions, look like the reference pictures, vary, and heed their prompts?

Judges are trained on reference pictures of phantoms that the model never saw; generated pictures come from whole
builds. Beside
the model stands a colour fill times lighting: it obeys its labels perfectly and looks like nothing, so it shows what
each figure can and cannot tell.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from dentgen import storage
from dentgen.conditions.decode import decode_record
from dentgen.conditions.labels import GINGIVA, TOOTH, colour_segmentation, tissue_classes
from dentgen.conditions.phantom.material import GUM_LAB, SHADE_WORDS
from dentgen.conditions.raw import RecordRange
from dentgen.conditions.sources import list_shards, read_records
from dentgen.pipeline.phantoms import PhantomSet, write_phantoms
from dentgen.pipeline.run import build
from dentgen.quality.judge import Detector, Segmenter, judge_labels, train_judge
from dentgen.quality.metrics import rgb_to_lab, set_miou, variant_spread
from dentgen.shards.reader import read_samples
from dentgen.shards.tar import json_bytes, tar_bytes
from dentgen.spec import BuildSpec, SourceSpec

#: Seeds that no training spec uses.
JUDGE_SEED: Final = 7001
TEST_SEED: Final = 7002
_GUM_WORDS: Final = (*GUM_LAB, "inflamed")


@dataclass(frozen=True, slots=True)
class FidelitySettings:
    """Sizes of the evaluation."""

    work: str
    spec: BuildSpec
    judge_records: int = 400
    test_records: int = 64
    judge_steps: int = 600
    detector_steps: int = 600


@dataclass(frozen=True, slots=True, eq=False)
class _Records:
    """Reference pictures (n, H, W, 3), labels and lighting (n, H, W) of a phantom set, in key order."""

    keys: list[str]
    photos: NDArray[np.uint8]
    seg: NDArray[np.uint8]
    light: NDArray[np.uint8]
    prompts: list[str]


def measure_fidelity(settings: FidelitySettings) -> dict[str, float]:
    """All fidelity figures of the spec's model, by name.

    ``miou_*``: one segmenter, against labels; ``detector_*``: accuracy of telling generated from reference pictures,
    0.5 is
    indistinguishable; ``spread_*``: mean standard deviation between variants in levels; ``word_*``: mean Lab values
    of tooth (b) or gum (a, L) pixels when one prompt word is exchanged and everything else is kept.
    """
    size = settings.spec.conditions.size
    judge_set = _phantoms(settings, "judge", settings.judge_records, JUDGE_SEED)
    test_set = _phantoms(settings, "test", settings.test_records, TEST_SEED)
    judge = train_judge(
        Segmenter, judge_set.photos, judge_set.seg, steps=settings.judge_steps, seed=0, name="segmenter"
    )
    variants = _generated(settings, "test", "test", size)
    figures = _label_figures(judge, test_set, variants)
    figures |= _detector_figures(settings, judge_set, test_set, variants)
    figures["spread_variants"] = float(np.mean([variant_spread(v) for v in variants]))
    figures["spread_records"] = variant_spread(test_set.photos)
    return figures | _word_figures(settings, test_set, size)


def _phantoms(settings: FidelitySettings, name: str, count: int, seed: int) -> _Records:
    place = storage.join(settings.work, name)
    write_phantoms(place, PhantomSet(count, seed, settings.spec.conditions.size, 40))
    records = [
        decode_record(raw, ("segmentation", "lighting"), with_photo=True)
        for shard in list_shards(place)
        for raw in read_records(shard, RecordRange(0, count))
    ]
    records.sort(key=lambda record: record.key)
    return _Records(
        keys=[record.key for record in records],
        photos=np.stack([record.photo for record in records if record.photo is not None]),
        seg=tissue_classes(np.stack([record.conditions["segmentation"] for record in records]).astype(np.uint8)),
        light=np.stack([record.conditions["lighting"] for record in records]).astype(np.uint8),
        prompts=[record.prompt for record in records],
    )


def _generated(settings: FidelitySettings, source: str, name: str, size: int, variants: int = 4) -> NDArray[np.uint8]:
    """(records, variants, H, W, 3) pictures of a build over a source, in key order."""
    out = storage.join(settings.work, f"build-{name}")
    spec = settings.spec.model_copy(
        update={
            "source": SourceSpec(path=storage.join(settings.work, source)),
            "output": settings.spec.output.model_copy(update={"path": out}),
            "sampling": settings.spec.sampling.model_copy(update={"variants": variants}),
        }
    )
    build(spec, use_ray=False)
    pictures = {key: _picture(members) for key, members in read_samples(out)}
    ordered = [pictures[key] for key in sorted(pictures)]
    return np.stack(ordered).reshape(-1, variants, size, size, 3)


def _picture(members: dict[str, bytes]) -> NDArray[np.uint8]:
    extension = next(name for name in ("png", "jpg", "webp") if name in members)
    return np.asarray(Image.open(io.BytesIO(members[extension])))


def _label_figures(judge: nn.Module, test: _Records, variants: NDArray[np.uint8]) -> dict[str, float]:
    count = variants.shape[1]
    seen = judge_labels(judge, variants.reshape(-1, *variants.shape[2:]))
    truth, other = np.repeat(test.seg, count, 0), np.repeat(np.roll(test.seg, 7, 0), count, 0)
    return {
        "miou_generated": set_miou(seen, truth),
        "miou_reference": set_miou(judge_labels(judge, test.photos), test.seg),
        "miou_shuffled": set_miou(seen, other),
        "miou_labels_shuffled": set_miou(test.seg, np.roll(test.seg, 7, 0)),
        "miou_fill": set_miou(judge_labels(judge, colour_fill(test.seg, test.light)), test.seg),
    }


def colour_fill(seg: NDArray[np.uint8], light: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The trivial generator: palette colours times lighting, background untouched; (n, H, W, 3)."""
    shade = np.where(seg[..., None] > 0, light[..., None] / 200.0, 1.0)
    return np.clip(colour_segmentation(seg) * shade, 0, 255).astype(np.uint8)


def _detector_figures(
    settings: FidelitySettings, judge_set: _Records, test: _Records, variants: NDArray[np.uint8]
) -> dict[str, float]:
    """Accuracy on the test set of classifiers trained to tell a generator's pictures from reference pictures."""
    generated = _generated(settings, "judge", "judge", settings.spec.conditions.size, variants=1)[:, 0]
    figures = {}
    for name, fakes, test_fakes in (
        ("detector_generated", generated, variants[:, 0]),
        ("detector_fill", colour_fill(judge_set.seg, judge_set.light), colour_fill(test.seg, test.light)),
    ):
        images = np.concatenate([judge_set.photos, fakes])
        truth = np.repeat(np.array([0, 1], np.uint8), [len(judge_set.photos), len(fakes)])
        detector = train_judge(Detector, images, truth, steps=settings.detector_steps, seed=0, name=name)
        said = judge_labels(detector, np.concatenate([test.photos, test_fakes]))
        figures[name] = float((said == np.repeat([0, 1], [len(test.photos), len(test_fakes)])).mean())
    return figures


def _word_figures(settings: FidelitySettings, test: _Records, size: int) -> dict[str, float]:
    figures = {}
    for word in SHADE_WORDS:
        lab = rgb_to_lab(
            _with_word(settings, test, f"shade-{word}", r"\w+ teeth, (\w+) gums", f"{word} teeth, \\1 gums", size)
        )
        figures[f"word_{word}_tooth_b"] = float(lab[test.seg == TOOTH][:, 2].mean())
        own = np.array([f"{word} teeth" in prompt for prompt in test.prompts])
        reference = rgb_to_lab(test.photos[own])[test.seg[own] == TOOTH]
        figures[f"reference_{word}_tooth_b"] = float(reference[:, 2].mean()) if own.any() else float("nan")
    for word in _GUM_WORDS:
        lab = rgb_to_lab(_with_word(settings, test, f"gum-{word}", r"\w+ gums", f"{word} gums", size))
        gum = lab[test.seg == GINGIVA]
        figures[f"word_{word}_gum_L"], figures[f"word_{word}_gum_a"] = float(gum[:, 0].mean()), float(gum[:, 1].mean())
    return figures


def _with_word(
    settings: FidelitySettings, test: _Records, name: str, pattern: str, replacement: str, size: int
) -> NDArray[np.uint8]:
    """Pictures (records, H, W, 3) of the test set with one word of every prompt exchanged; same keys, so same noise."""
    samples = []
    for shard in list_shards(storage.join(settings.work, "test")):
        for raw in read_records(shard, RecordRange(0, len(test.keys))):
            metadata = json.loads(raw.members["json"])
            metadata["prompt"] = re.sub(pattern, replacement, metadata["prompt"])
            samples.append((raw.key, {**raw.members, "json": json_bytes(metadata)}))
    storage.put_if_absent(storage.join(settings.work, name, "records.tar"), tar_bytes(samples))
    return _generated(settings, name, name, size, variants=1)[:, 0]


def write_figures(figures: dict[str, float], path: Path) -> None:
    """Write figures as JSON, four digits."""
    rounded = {name: round(value, 4) for name, value in figures.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"figures": rounded}, indent=1) + "\n")


def figure_lines(figures: dict[str, float], names: Sequence[str] | None = None) -> list[str]:
    """Figures as aligned text."""
    return [f"{name:28s} {figures[name]:8.3f}" for name in names or figures]
