"""What prompt words do: one word of every prompt is exchanged, the rest and the noise are kept, colours are compared.

Refuses to know judges.
"""

from __future__ import annotations

import numpy as np

from dentgen.conditions.labels import GINGIVA, TOOTH
from dentgen.evaluation.generated_images import reworded_pictures
from dentgen.evaluation.reference_set import ReferenceSet
from dentgen.phantom.material import GUM_LAB, SHADE_WORDS
from dentgen.quality.metrics import rgb_to_lab
from dentgen.spec.build import BuildSpec

_GUM_WORDS = (*GUM_LAB, "inflamed")


def word_figures(work: str, spec: BuildSpec, reference: ReferenceSet, limit: int) -> dict[str, float]:
    """Mean Lab values of tooth (b) or gum (L, a) pixels when a prompt word is exchanged.

    Args:
        work: Folder for changed records and builds.
        spec: Whose model is used.
        reference: Records whose prompts are changed.
        limit: How many of them.
    """
    seg = reference.seg[:limit]
    figures = {}
    for word in SHADE_WORDS:
        pattern, replacement = r"\w+ teeth, (\w+) gums", f"{word} teeth, \\1 gums"
        lab = rgb_to_lab(reworded_pictures(work, spec, reference, f"shade-{word}", pattern, replacement, limit))
        figures[f"word_{word}_tooth_b"] = float(lab[seg == TOOTH][:, 2].mean())
        figures[f"reference_{word}_tooth_b"] = _own_yellowness(reference, word)
    for word in _GUM_WORDS:
        pictures = reworded_pictures(work, spec, reference, f"gum-{word}", r"\w+ gums", f"{word} gums", limit)
        gum = rgb_to_lab(pictures)[seg == GINGIVA]
        figures[f"word_{word}_gum_L"], figures[f"word_{word}_gum_a"] = float(gum[:, 0].mean()), float(gum[:, 1].mean())
    return figures


def _own_yellowness(reference: ReferenceSet, word: str) -> float:
    """Of teeth in reference pictures whose own prompt has the word; NaN if there are none."""
    own = np.array([f"{word} teeth" in prompt for prompt in reference.prompts])
    if not own.any():
        return float("nan")
    return float(rgb_to_lab(reference.photos[own])[reference.seg[own] == TOOTH][:, 2].mean())
