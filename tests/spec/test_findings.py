"""Findings in a spec: what is accepted, what is refused, and what of it decides bytes and rows."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import yaml
from pydantic import ValidationError

from dentgen.conditions.labels import FDI_NUMBERS, SEG_CLASSES
from dentgen.conditions.lesion_map import LESIONS
from dentgen.spec.build import BuildSpec
from dentgen.spec.findings import DecayName, FindingSpec, MaterialName, TissueName

CROWNS: dict[str, Any] = {"teeth": [16, 26], "kind": "restoration", "prompt": "gold crown"}


def test_a_prompt_and_a_place_are_enough() -> None:
    text = """
findings:
  - {teeth: [16, 26, 36, 46], probability: 0.3, kind: restoration, prompt: "large amalgam filling"}
  - {where: gingiva, near: [31, 41], probability: 0.2, prompt: "red, swollen gum margin"}
"""
    restoration, gum = BuildSpec.model_validate(yaml.safe_load(text)).findings
    assert (restoration.kind, restoration.usual_part) == ("restoration", "spot")
    assert (gum.kind, gum.usual_part, gum.near) == ("other", "whole", (31, 41))


def test_names_are_those_of_the_maps() -> None:
    assert {*get_args(MaterialName), *get_args(DecayName)} <= set(LESIONS.values())
    assert set(get_args(TissueName)) <= set(SEG_CLASSES.values())


def test_teeth_are_fdi_numbers() -> None:
    for number in range(256):
        values = {**CROWNS, "teeth": [number]}
        if number in FDI_NUMBERS:
            assert FindingSpec.model_validate(values).teeth == (number,)
        else:
            with pytest.raises(ValidationError):
                FindingSpec.model_validate(values)


@pytest.mark.parametrize(
    "wrong",
    [
        {"teeth": []},
        {"where": "tooth"},
        {"near": [11]},
        {"teeth": [16, 16]},
        {"start": 0.5, "end": 0.5},
        {"where": "gingiva", "teeth": []},
        {"attributes": {"lokk": "photo"}},
        {"probability": 1.5},
        {"where": "tonsils", "teeth": []},
        {"unknown": 1},
    ],
)
def test_what_cannot_be_meant_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FindingSpec.model_validate({**CROWNS, **wrong})


@pytest.mark.parametrize(
    ("finding", "used", "told"),
    [
        ({"prompt": None}, ["segmentation", "lighting"], True),
        ({"prompt": None}, ["normal"], False),
        ({"prompt": None, "kind": "caries"}, ["segmentation", "lighting"], False),
        ({"prompt": None, "kind": "caries"}, ["segmentation", "lighting", "findings"], True),
        ({"prompt": None, "kind": "plaque"}, ["segmentation", "lighting"], False),
        ({"prompt": None, "edit": False}, ["segmentation", "lighting"], False),
        ({"kind": "plaque"}, ["segmentation", "lighting"], True),
    ],
)
def test_findings_that_nothing_tells_the_model_of_are_refused(
    finding: dict[str, Any], used: list[str], told: bool
) -> None:
    spec = {"findings": [{**CROWNS, **finding}], "conditions": {"use": used}}
    if told:
        BuildSpec.model_validate(spec)
    else:
        with pytest.raises(ValidationError):
            BuildSpec.model_validate(spec)


def test_the_leak_test_needs_one_row_for_each_region() -> None:
    leaky: dict[str, Any] = {"findings": [CROWNS], "regions": {"bootstrap_steps": 1, "leak": 0.2}}
    BuildSpec.model_validate(leaky)
    with pytest.raises(ValidationError):
        BuildSpec.model_validate({**leaky, "sampling": {"guidance_scale": 2.0}})


def test_findings_decide_bytes_and_a_build_without_them_is_what_it_was() -> None:
    plain, asked = BuildSpec(), BuildSpec.model_validate({"findings": [CROWNS]})
    assert "findings" not in plain.deciding()
    assert "regions" not in plain.deciding()
    assert plain.digest() != asked.digest()
    started = BuildSpec.model_validate({"findings": [CROWNS], "regions": {"bootstrap_steps": 1}})
    assert started.digest() != asked.digest()


def test_every_region_needs_rows() -> None:
    spec = {"findings": [CROWNS, {**CROWNS, "prompt": None}, CROWNS], "sampling": {"guidance_scale": 2.0}}
    assert BuildSpec.model_validate(spec).max_regions == 2
    assert BuildSpec.model_validate(spec).first_rows == 6
    with pytest.raises(ValidationError):
        BuildSpec.model_validate({**spec, "engine": {"slots": 5}})
    with pytest.raises(ValidationError):
        BuildSpec.model_validate({**spec, "engine": {"control_slots": 5}})
    assert BuildSpec.model_validate({**spec, "engine": {"slots": 6}}).control_slots == 6


def test_initialize_guidance_and_prompts_that_nobody_reads_are_refused() -> None:
    guided = {"guidance_scale": 1.3, "guidance": "initialize"}
    with pytest.raises(ValidationError):
        BuildSpec.model_validate({"findings": [CROWNS], "sampling": guided})
    with pytest.raises(ValidationError):
        BuildSpec.model_validate({"findings": [{**CROWNS, "negative_prompt": "plain"}]})


def test_painted_regions_need_rows_and_decide_bytes() -> None:
    plain = BuildSpec.model_validate({"findings": [CROWNS]})
    painted = BuildSpec.model_validate({"findings": [CROWNS], "regions": {"painted": 2}})
    assert (painted.max_regions, painted.first_rows) == (3, 4)
    assert painted.digest() != plain.digest()
    assert "painted" not in plain.deciding()["regions"]
    alone = BuildSpec.model_validate({"regions": {"painted": 2, "bootstrap_steps": 1}})
    assert alone.max_regions == 2
    assert "findings" not in alone.deciding()
    assert (alone.deciding()["regions"]["painted"], alone.deciding()["regions"]["bootstrap_steps"]) == (2, 1)
    for wrong in ({"regions": {"painted": 9}}, {"regions": {"painted": 4}, "engine": {"slots": 4}}):
        with pytest.raises(ValidationError):
            BuildSpec.model_validate(wrong)


def test_digests_of_specs_that_know_no_painted_regions_stay() -> None:
    """As they were before there was this key."""
    assert BuildSpec().digest() == "98c45bda3053f28fdddc74e25a39bc9936196580bcb8a1f3c1b98486f4b9ef4b"
    asked = BuildSpec.model_validate({"findings": [CROWNS], "regions": {"bootstrap_steps": 1}})
    assert asked.digest() == "51d8004c9aaea5d495adb1375badd55a399f02a71c649453d482eba2af2088ae"
