"""Requests of a record: its variants, and what it must have."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dentgen.errors import ConditionError, SpecError
from dentgen.generation.generator import Generator, load_generator
from dentgen.generation.requests import check_requests, sample_requests, with_lighting
from dentgen.records import Frame, PaintedRegion
from tests.conftest import small_spec, write_tar
from tests.generation.finding_records import record
from tests.generation.ways import REFERENCE, Members, canvas_of, image, samples, unit


def generator_of(tmp_path: Path, **sections: Any) -> Generator:
    return load_generator(small_spec(tmp_path, tmp_path / "out", **sections))


def test_variants_are_as_many_as_the_spec_says_times_the_records_factor(tmp_path: Path) -> None:
    source = {"oversample": {"lighting": {"harsh": 3}}}
    generator = generator_of(tmp_path, source=source, sampling={"variants": 2, "seed": 7, "prompt": "of the spec"})
    requests = sample_requests(generator, record(lighting="harsh"))
    assert [(one.variant, one.variants, one.seed) for one in requests] == [(number, 6, 7) for number in range(6)]
    assert {one.prompt for one in requests} == {"of the spec"}
    assert len(sample_requests(generator, record(lighting="soft"))) == 2
    (asked,) = sample_requests(generator, record(lighting="harsh"), prompt="asked", seed=9, variants=1)
    assert (asked.prompt, asked.seed, asked.variants) == ("asked", 9, 1)


def test_another_light_changes_control_images_and_no_photo(tmp_path: Path) -> None:
    generator, before = generator_of(tmp_path), record()
    (request, *_) = sample_requests(generator, before)
    dark = np.zeros_like(before.conditions["lighting"])
    relit = with_lighting(generator, request, dark)
    assert relit.record.photo is before.photo
    assert (relit.record.conditions["lighting"] == 0).all()
    assert relit.controls["blended"].mean() < request.controls["blended"].mean()
    assert (before.conditions["lighting"] > 0).all(), "the record itself is as it was"


@pytest.mark.parametrize(
    ("changes", "sampling", "file"),
    [
        ({}, {"noise": "series"}, "series, frame"),
        ({"frame": Frame("orbit", 0)}, {"noise": "motion"}, "motion_x, motion_y"),
        ({}, {"start_from": "photo"}, "photo"),
        ({"painted": (PaintedRegion("one", "a crown", np.ones((64, 64), bool)),)}, {}, "painted"),
    ],
)
def test_what_a_record_lacks_is_named(
    changes: dict[str, Any], sampling: dict[str, Any], file: str, tmp_path: Path
) -> None:
    generator = generator_of(tmp_path, sampling=sampling)
    with pytest.raises(ConditionError) as caught:
        check_requests(generator, sample_requests(generator, replace(record(), **changes)))
    assert caught.value.file == file


def test_a_record_that_has_all_of_it_passes(tmp_path: Path) -> None:
    check_requests(generator := generator_of(tmp_path), sample_requests(generator, record()))
    series = generator_of(tmp_path, sampling={"noise": "series"})
    check_requests(series, sample_requests(series, replace(record(), frame=Frame("orbit", 0))))


def test_a_photo_of_another_shape_is_refused(source: Path, demo_members: Members) -> None:
    key = sorted(demo_members)[0]
    buffer = BytesIO()
    Image.fromarray(image(demo_members[key]["photo.png"])[:64]).save(buffer, format="PNG")
    write_tar(source / "x.tar", {key: {**demo_members[key], "photo.png": buffer.getvalue()}})
    result = unit(source, sampling={"start_from": "photo", "strength": 0.5})
    (reason,) = {sample.reason for sample in result.record.samples}
    assert all(fact in reason for fact in ("x.tar", f"{key}.photo.png", "128 x 64", "128 x 128"))


def test_what_the_way_of_sampling_needs_is_named(tmp_path: Path, demo_members: Members) -> None:
    key = sorted(demo_members)[0]
    bare = {name: content for name, content in demo_members[key].items() if not name.startswith("photo")}
    write_tar(tmp_path / "s" / "x.tar", {key: bare})
    result = unit(tmp_path / "s", sampling={"start_from": "photo", "strength": 0.5})
    (reason,) = {sample.reason for sample in result.record.samples}
    assert all(fact in reason for fact in ("x.tar", key, "photo", "sampling.start_from"))


@pytest.mark.integration
def test_records_without_a_segmentation_have_no_scales_by_class(tmp_path: Path, demo_members: Members) -> None:
    key = sorted(demo_members)[0]
    members = {name: content for name, content in demo_members[key].items() if name not in {"seg.png", "fdi.png"}}
    write_tar(tmp_path / "s" / "x.tar", {key: members})
    result = unit(tmp_path / "s", conditions={"use": ["normal"]}, model={"adapters": {"normal": {"tooth": 1.5}}})
    (reason,) = {sample.reason for sample in result.record.samples}
    assert all(fact in reason for fact in ("x.tar", key, "seg", "the scale of normal"))


def test_a_record_without_photo_has_no_reference(source: Path, tmp_path: Path, demo_members: Members) -> None:
    key = min(demo_members)
    bare = {name: content for name, content in demo_members[key].items() if name != "photo.png"}
    write_tar(tmp_path / "bare" / "x.tar", {key: bare})
    result = unit(tmp_path / "bare", **REFERENCE)
    assert [sample.status for sample in result.record.samples] == ["rejected"] * 2
    assert "reference" in result.record.samples[0].reason


@pytest.mark.integration
def test_long_prompts(source: Path) -> None:
    long = "a photo of both teeth, " + ", ".join(["white enamel, pink gum"] * 20)
    refused = unit(source, sampling={"prompt": long})
    assert refused.record.written == 0
    assert all("tokens" in sample.reason for sample in refused.record.samples)
    cut = samples(source, sampling={"prompt": long, "long_prompts": "truncate"})
    assert all("did not read the end of a prompt" in " ".join(m["warnings"]) for _, m in cut.values())
    chunked = samples(source, sampling={"prompt": long, "long_prompts": "chunk", "prompt_chunks": 4})
    assert all(m["warnings"] == [] for _, m in chunked.values())
    embedded = [canvas_of(source, sampling={"prompt": long, **way}).prompt.values for way in (
        {"long_prompts": "truncate"}, {"long_prompts": "chunk", "prompt_chunks": 4})]  # fmt: skip
    assert [len(values) for values in embedded] == [77, 4 * 77]
    assert torch.equal(embedded[1][:77], embedded[0]), "the first window holds what truncation keeps"


@pytest.mark.integration
@pytest.mark.parametrize("key", ["negative_prompt", "prompt_to"])
def test_a_prompt_of_the_spec_that_is_too_long_is_refused_at_once(source: Path, key: str) -> None:
    with pytest.raises(SpecError) as caught:
        unit(source, sampling={key: "enamel " * 90, "guidance_scale": 2.0})
    assert caught.value.key == f"sampling.{key}"
    cut = unit(source, sampling={key: "enamel " * 90, "guidance_scale": 2.0, "long_prompts": "truncate"})
    assert all("did not read the end" in " ".join(sample.warnings) for sample in cut.record.samples)
