"""Prompts: every fact is named once, and the light can be replaced."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from dentgen.phantom.findings import NO_FINDINGS, Findings
from dentgen.phantom.light import LIGHT_KINDS, LightKind
from dentgen.phantom.prompt import (
    LIGHT_WORD,
    LOOKS,
    NEUTRAL_LIGHT,
    SCAN_LIGHT_WORD,
    Look,
    SceneFacts,
    phantom_phrases,
    replace_light_words,
    scene_prompt,
)

MANY = Findings(
    {"missing_teeth": 2, "restorations": 2, "caries": 1},
    ("amalgam", "gold"),
    {"braces": "yes", "plaque": "no", "stain": "yes"},
)


def facts(look: Look = "photo", findings: Findings = NO_FINDINGS, *, mirrored: bool = False) -> SceneFacts:
    return SceneFacts("upper-occlusal", look, "deciduous", mirrored, "white", "pink", findings)


def test_prompts_name_everything_in_order() -> None:
    """The text is data: models are trained on exactly these words."""
    assert scene_prompt(facts(findings=MANY, mirrored=True), "ring") == (
        "a photo of upper milk teeth, top view in a mirror, intraoral dental photography, white teeth, pink gums, "
        "amalgam filling, gold crown, missing teeth, caries, braces, stained teeth, ring flash"
    )
    assert scene_prompt(facts("scan"), "twin") == (
        "a scan model of upper milk teeth, top view, dental cast render, white teeth, pink gums, light from both sides"
    )


def test_one_missing_tooth_is_singular() -> None:
    one = Findings({**MANY.counts, "missing_teeth": 1}, (), NO_FINDINGS.signs)
    phrases = scene_prompt(facts(findings=one), "ring").split(", ")
    assert "missing tooth" in phrases
    assert "missing teeth" not in phrases


def test_attributes_carry_the_same_facts() -> None:
    assert facts(findings=MANY, mirrored=True).attributes == {
        "view": "upper-occlusal", "arch": "upper", "look": "photo", "dentition": "deciduous", "shade": "white",
        "gum": "pink", "missing_teeth": 2, "restorations": 2, "caries": 1, "braces": "yes", "plaque": "no",
        "stain": "yes", "mirrored": "yes",
    }  # fmt: skip


def test_every_light_has_a_word_of_its_own() -> None:
    for words in (LIGHT_WORD, SCAN_LIGHT_WORD):
        assert set(words) == set(LIGHT_KINDS)
        assert len(set(words.values())) == len(LIGHT_KINDS)


@pytest.mark.parametrize(("look", "light"), list(product(LOOKS, LIGHT_KINDS)))
def test_replacing_the_light_leaves_no_word_of_it_and_all_others(look: Look, light: LightKind) -> None:
    *others, last = scene_prompt(facts(look, MANY), light).split(", ")
    assert "light" in last or "flash" in last
    assert replace_light_words(scene_prompt(facts(look, MANY), light), light) == ", ".join([*others, NEUTRAL_LIGHT])


@pytest.mark.parametrize(
    ("prompt", "light", "expected"),
    [
        ("my teeth, candle light, at night", "candle", f"my teeth, {NEUTRAL_LIGHT}, at night"),
        ("my teeth, candle lighting", "candle", f"my teeth, {NEUTRAL_LIGHT}"),
        ("my teeth, ring flash", "twin", "my teeth, ring flash"),
        ("my teeth, ring flash", "", "my teeth, ring flash"),
        ("", "ring", ""),
    ],
)
def test_foreign_prompts_lose_only_the_phrase_of_their_own_light(prompt: str, light: str, expected: str) -> None:
    assert replace_light_words(prompt, light) == expected


def test_varied_pictures_say_what_they_show() -> None:
    close = replace(facts(), framing="close-up", seen_arch="lower", things=("dam",), lesions=("cavity", "amalgam"))
    assert scene_prompt(close, "ring") == (
        "a photo of lower milk teeth, top view, intraoral dental photography, white teeth, pink gums, "
        "close-up, rubber dam, cavity, ring flash"
    )
    face = replace(facts(), view="frontal", framing="face", seen_arch="both")
    assert scene_prompt(face, "soft").startswith("a photo of both milk teeth, front view, extraoral dental photography")
    for each in (close, face):
        assert each.attributes["arch"] == each.seen_arch
        prompt = scene_prompt(each, "ring")
        assert phantom_phrases(prompt) == tuple(prompt.split(", "))
