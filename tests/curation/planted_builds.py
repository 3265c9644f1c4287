"""Finished builds without a model whose samples have chosen prints, and small judges."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from dentgen.documents.samples import SampleStatus
from dentgen.models.judge_networks import DilatedSegmenter, Segmenter
from dentgen.models.judges import write_judge
from dentgen.quality.labelled_pictures import fingerprint_text
from dentgen.records import FigureName, GateResult
from dentgen.seeding import fresh_weights
from tests.report.fake_builds import written

#: Prints that differ in about half of their bits.
PRINTS = [fingerprint_text(np.random.default_rng(seed).random(256) < 0.5) for seed in range(8)]


def gated(
    number: int, *prints: str, reference: str = "", failed: tuple[FigureName, ...] = (), **fields: object
) -> list[SampleStatus]:
    """Samples of one record that a gate measured; those beside ``reference`` differ from it in one factor."""
    samples = written(number, variants=len(prints), **fields)
    return [
        sample.model_copy(
            update={
                "gate": GateResult(figures={"miou": 0.9}, failed=failed, fingerprint=text),
                "reference": "" if sample.key == reference else reference,
            }
        )
        for sample, text in zip(samples, prints, strict=True)
    ]


def small_judges(folder: Path, size: int = 32) -> str:
    """Judges with random weights."""
    for name, kind in (("unet", Segmenter), ("dilated", DilatedSegmenter)):
        with fresh_weights(1, name):
            write_judge(str(folder), name, kind(), size)
    return str(folder)


def smooth(key: str, shape: tuple[int, int]) -> np.ndarray:
    """A picture (H, W, 3) of coloured blots, by key: its print survives encoding, as that of noise does not."""
    rng = np.random.default_rng(list(key.encode()))
    blots = Image.fromarray(rng.integers(0, 256, (24, 24, 3), np.uint8)).resize(shape[::-1], Image.Resampling.BICUBIC)
    return np.asarray(blots.filter(ImageFilter.GaussianBlur(0.5)))
