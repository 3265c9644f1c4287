"""Effect of prompt words: replace one word of every prompt, keep everything else and the noise, compare colours."""

from __future__ import annotations

import numpy as np

from dentgen.conditions.labels import GINGIVA, TOOTH
from dentgen.evaluation.generated_images import reworded_images
from dentgen.evaluation.reference_set import ReferenceSet
from dentgen.phantom.material import GUM_LAB, SHADE_WORDS
from dentgen.quality.metrics import rgb_to_lab
from dentgen.spec.build import BuildSpec

_GUM_WORDS = (*GUM_LAB, "inflamed")


def word_figures(work: str, spec: BuildSpec, reference: ReferenceSet, limit: int) -> dict[str, float]:
    """Mean Lab values of tooth (b*) or gum (L*, a*) pixels for every shade and gum word.

    ``word_WORD_tooth_b`` is of generated images, ``reference_WORD_tooth_b`` of reference images whose own prompt has
    the word (NaN if there are none).

    Args:
        work: Folder or URL that caches changed records and builds.
        spec: Model and sampling.
        reference: Records whose prompts are changed.
        limit: Number of records.
    """
    seg = reference.seg[:limit]
    figures = {}
    for word in SHADE_WORDS:
        pattern, replacement = r"\w+ teeth, (\w+) gums", f"{word} teeth, \\1 gums"
        lab = rgb_to_lab(reworded_images(work, spec, reference, f"shade-{word}", pattern, replacement, limit))
        figures[f"word_{word}_tooth_b"] = float(lab[seg == TOOTH][:, 2].mean())
        figures[f"reference_{word}_tooth_b"] = _reference_yellowness(reference, word)
    for word in _GUM_WORDS:
        images = reworded_images(work, spec, reference, f"gum-{word}", r"\w+ gums", f"{word} gums", limit)
        gum = rgb_to_lab(images)[seg == GINGIVA]
        figures[f"word_{word}_gum_L"], figures[f"word_{word}_gum_a"] = float(gum[:, 0].mean()), float(gum[:, 1].mean())
    return figures


def _reference_yellowness(reference: ReferenceSet, word: str) -> float:
    """Mean b* of teeth in reference images whose own prompt has the word; NaN if there are none."""
    with_word = np.array([f"{word} teeth" in prompt for prompt in reference.prompts])
    if not with_word.any():
        return float("nan")
    return float(rgb_to_lab(reference.photos[with_word])[reference.seg[with_word] == TOOTH][:, 2].mean())
