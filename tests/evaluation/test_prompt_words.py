"""Colours by prompt word."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from dentgen.conditions.labels import TOOTH
from dentgen.evaluation.prompt_words import _reference_yellowness, word_figures
from dentgen.evaluation.reference_set import ReferenceSet
from dentgen.phantom.material import GUM_LAB, SHADE_WORDS
from dentgen.quality.metrics import rgb_to_lab
from tests.evaluation.small_evaluation import small_build_spec


def test_yellowness_is_of_the_teeth_whose_prompt_has_the_word() -> None:
    white, yellow, gum = (230, 230, 230), (230, 210, 120), (200, 90, 90)
    seg = np.array([[[TOOTH, 1]], [[TOOTH, 1]]], np.uint8)
    photos = np.array([[[white, gum]], [[yellow, gum]]], np.uint8)
    prompts = ["a photo, white teeth, pink gums", "a photo, yellow teeth, pink gums"]
    reference = ReferenceSet("", ["a", "b"], ["a", "b"], prompts, photos, seg, seg, seg, seg)
    for word, colour in (("white", white), ("yellow", yellow)):
        assert _reference_yellowness(reference, word) == rgb_to_lab(np.array([colour], np.uint8))[0, 2]
    assert math.isnan(_reference_yellowness(reference, "ivory"))


@pytest.mark.slow
def test_every_word_is_measured_on_its_own_images(work: Path, jaws: ReferenceSet) -> None:
    figures = word_figures(str(work), small_build_spec(), jaws, 2)
    assert {f"word_{word}_tooth_b" for word in SHADE_WORDS} <= figures.keys()
    gums = [figures[f"word_{word}_gum_L"] for word in (*GUM_LAB, "inflamed")]
    assert len(set(gums)) == len(gums), "another word, other images"
