"""Specs for pods: local places and secrets are refused by key, and the text reads back to the same spec."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dentgen.cluster.portable_spec import portable_spec
from dentgen.errors import SpecError
from dentgen.redaction import redacted
from dentgen.spec.build import BuildSpec
from dentgen.spec.yaml_file import parse_yaml, validate_document

PLACES = {"source": {"path": "s3://teeth/conditions"}, "output": {"path": "s3://teeth/out"}}


def spec_of(**sections: Any) -> BuildSpec:
    """A spec over a bucket."""
    return BuildSpec.model_validate({**PLACES, **sections})


def faults_of(**sections: Any) -> dict[str, object]:
    """What is found wrong, by key."""
    with pytest.raises(SpecError) as error:
        portable_spec(spec_of(**sections), "build.yaml")
    assert error.value.file == "build.yaml"
    return {fault.key: fault.found for fault in error.value.faults}


@pytest.mark.parametrize("place", ["conditions/", "/data/teeth", "~/teeth", "file:///data", "memory://teeth"])
def test_local_places_are_refused_by_key(place: str) -> None:
    assert faults_of(source={"path": place}).keys() == {"source.path"}
    assert faults_of(output={"path": place}).keys() == {"output.path"}


def test_judges_of_this_machine_are_refused_and_embedded_ones_are_not() -> None:
    assert faults_of(quality={"gate": {"judges": "/mine"}}) == {"quality.gate.judges": "/mine"}
    assert faults_of(quality={"gate": {"reference": "photos/"}}).keys() == {"quality.gate.reference"}
    assert "gate" in portable_spec(spec_of(quality={"gate": {"judges": "s3://teeth/judges"}}), "build.yaml")


def test_places_that_a_spec_leaves_out_are_local() -> None:
    with pytest.raises(SpecError) as error:
        portable_spec(BuildSpec(), "build.yaml")
    assert [fault.key for fault in error.value.faults] == ["source.path", "output.path"]


@pytest.mark.parametrize("bundle", ["/models/sd15", "./sd15", "work", "a/b/c", "~/sd15"])
def test_local_bundles_are_refused(bundle: str) -> None:
    assert faults_of(model={"bundle": bundle}).keys() == {"model.bundle"}


def test_a_folder_is_no_name_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work" / "miniature").mkdir(parents=True)
    spec = spec_of(model={"bundle": "work/miniature"})
    assert portable_spec(spec, "build.yaml")
    monkeypatch.chdir(tmp_path)
    assert faults_of(model={"bundle": "work/miniature"}) == {"model.bundle": "work/miniature"}


@pytest.mark.parametrize("bundle", ["miniature", "stable-diffusion-v1-5/stable-diffusion-v1-5", "s3://teeth/sd15"])
def test_bundles_that_pods_find_are_taken(bundle: str) -> None:
    assert bundle in portable_spec(spec_of(model={"bundle": bundle}), "build.yaml")


@pytest.mark.parametrize(("sections", "key"), [
    ({"sampling": {"prompt": "teeth hf_ABCDEFGHIJKLMNOP"}}, "sampling.prompt"),
    ({"sampling": {"prompt": "https://web/x?X-Amz-Signature=abc"}}, "sampling.prompt"),
    ({"source": {"path": "s3://teeth/x?token=abcdef"}}, "source.path"),
    ({"source": {"path": "s3://teeth/c", "ignore_members": ["AKIAABCDEFGHIJKLMNOP"]}}, "source.ignore_members.0"),
])  # fmt: skip
def test_secrets_are_refused_by_key_and_not_repeated(sections: dict[str, Any], key: str) -> None:
    with pytest.raises(SpecError) as error:
        portable_spec(spec_of(**sections), "build.yaml")
    assert [fault.key for fault in error.value.faults] == [key]
    assert not any(secret in str(error.value) for secret in ("ABCDEFGH", "=abc"))


def test_several_faults_are_told_together() -> None:
    found = faults_of(source={"path": "conditions"}, output={"path": "out"}, model={"bundle": "./x"})
    assert found == {"source.path": "conditions", "output.path": "out", "model.bundle": "./x"}


def read_back(text: str) -> BuildSpec:
    """The spec of a text, as a pod reads it."""
    return validate_document(BuildSpec, parse_yaml("build.yaml", text), "build.yaml")


def test_a_whole_spec_reads_back_equal() -> None:
    spec = spec_of(
        model={"adapters": {"blended": {"tooth": 1.5, "background": 1e-5}}},
        conditions={"size": [64, 128]},
        sampling={"steps": 2, "timesteps": [900, 100], "guidance_scale": 2.0, "negative_prompt": "ugly: #teeth\nno"},
        findings=[{"teeth": [16, 26], "kind": "caries", "share": 0.2, "prompt": "{prompt}, caries"}],
        variants={"same_noise": True, "change": ["findings"]},
    )
    again = read_back(portable_spec(spec, "build.yaml"))
    assert again == spec
    assert again.digest() == spec.digest()


#: Readers disagree on what these are when they are plain.
AMBIGUOUS = ["1e4", "no", "0x1f", "12:30", "010", "~", "null", "true", "- a", "1_000", ".5", "a: b"]
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30)


@settings(max_examples=40, deadline=None)
@given(st.one_of(st.sampled_from(AMBIGUOUS), TEXTS))
def test_any_prompt_reads_back_equal(prompt: str) -> None:
    assume(redacted(prompt) == prompt)
    text = portable_spec(spec_of(sampling={"prompt": prompt}), "build.yaml")
    assert read_back(text).sampling.prompt == prompt


@pytest.mark.parametrize("prompt", AMBIGUOUS)
def test_ambiguous_prompts_read_back_equal(prompt: str) -> None:
    assert read_back(portable_spec(spec_of(sampling={"prompt": prompt}), "build.yaml")).sampling.prompt == prompt


def test_only_what_was_set_is_written() -> None:
    text = portable_spec(spec_of(sampling={"seed": 0}), "build.yaml")
    assert text == "output: {path: s3://teeth/out}\nsampling: {seed: 0}\nsource: {path: s3://teeth/conditions}\n"
