"""Relit records say nothing of the light that is gone."""

from __future__ import annotations

from itertools import product

import pytest

from dentgen.conditions.metadata import read_metadata
from dentgen.phantom.findings import NO_FINDINGS
from dentgen.phantom.light import LIGHT_KINDS, LightKind
from dentgen.phantom.prompt import LOOKS, Look, SceneFacts, scene_prompt
from dentgen.relight.shards import _without_light


@pytest.mark.parametrize(("look", "light"), list(product(LOOKS, LIGHT_KINDS)))
def test_no_word_of_the_old_light_stays(look: Look, light: LightKind) -> None:
    facts = SceneFacts("left", look, "permanent", False, "white", "pink", NO_FINDINGS)
    *others, last = scene_prompt(facts, light).split(", ")
    assert "light" in last or "flash" in last
    assert _without_light(scene_prompt(facts, light), light) == ", ".join([*others, "clinical lighting"])


@pytest.mark.parametrize(
    ("value", "word"),
    [("null", ""), ("0.3", "0.3"), ("2.0", "2"), ("3", "3"), ("true", "yes"), ('["amalgam"]', ""), ('"many"', "many")],
)
def test_what_others_write_under_our_names_is_a_word_or_nothing(value: str, word: str) -> None:
    metadata = read_metadata("here", f'{{"caries": {value}}}'.encode())
    assert metadata.attributes.get("caries", "") == word
