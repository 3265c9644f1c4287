"""Draws of samples: their own, the same whatever else is drawn, in picture and metadata."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dentgen.errors import ConditionError
from dentgen.generation.canvases import build_canvases
from dentgen.generation.generator import Generator, load_generator
from dentgen.generation.randomise import randomised
from dentgen.generation.requests import check_requests, sample_requests
from dentgen.pipeline.run import build
from dentgen.records import SampleRequest
from dentgen.shards.reader import read_samples
from dentgen.spec.randomise import RandomiseSpec
from tests.conftest import problems, small_spec, write_tar
from tests.generation.finding_records import record

Members = dict[str, dict[str, bytes]]
ALL: dict[str, Any] = {
    "prompts": ["{prompt}", "{prompt}, overexposed", "{prompt}, dark"],
    "control_scale": [0.5, 1.5],
    "guidance_scale": [1.5, 3.0],
}


def request(variant: int, key: str = "jaw") -> SampleRequest:
    jaw = replace(record(), key=key)
    return SampleRequest(f"{key}-v{variant:03d}", jaw, variant, 500, 7, "teeth", {})


def drawn(spec: dict[str, Any], count: int = 500) -> list[SampleRequest]:
    return [randomised(RandomiseSpec.model_validate(spec), request(variant)) for variant in range(count)]


def test_draws_fill_their_ranges_evenly() -> None:
    samples = drawn(ALL)
    for name, (low, high) in (("control_scale", (0.5, 1.5)), ("guidance_scale", (1.5, 3.0))):
        values = np.array([getattr(sample, name) for sample in samples])
        counts, _ = np.histogram(values, 5, (low, high))
        assert counts.sum() == 500, name
        assert counts.min() > 70, name  # 100 expected, standard deviation 9
    said = [sample.prompt for sample in samples]
    assert {said.count(prompt) > 130 for prompt in ("teeth", "teeth, overexposed", "teeth, dark")} == {True}


def test_draws_are_independent_of_each_other() -> None:
    samples = drawn(ALL)
    said = [ALL["prompts"].index(sample.prompt.replace("teeth", "{prompt}")) for sample in samples]
    values = np.array([said, [s.control_scale for s in samples], [s.guidance_scale for s in samples]])
    correlations = np.corrcoef(values)[np.triu_indices(3, 1)]
    assert np.abs(correlations).max() < 0.15  # standard deviation .045


def test_a_draw_is_the_same_whatever_else_is_drawn() -> None:
    both = drawn(ALL, 20)
    assert [one.control_scale for one in drawn({"control_scale": [0.5, 1.5]}, 20)] == [s.control_scale for s in both]
    assert [one.prompt for one in drawn({"prompts": ALL["prompts"]}, 20)] == [sample.prompt for sample in both]
    other = randomised(RandomiseSpec.model_validate(ALL), request(0, "another"))
    assert other.control_scale != both[0].control_scale


def generator_of(tmp_path: Path, **sections: Any) -> Generator:
    guided: dict[str, Any] = {"variants": 3, "steps": 2, "guidance_scale": 2.0}
    return load_generator(
        small_spec(tmp_path, tmp_path / "out", sampling=guided, engine={"slots": 8}, randomise=ALL, **sections)
    )


def test_what_is_drawn_acts_in_the_canvas(tmp_path: Path) -> None:
    generator = generator_of(tmp_path)
    requests = sample_requests(generator, record())
    canvases = build_canvases(generator, requests)
    own = [route.scale for route in generator.routes]
    assert len({one.control_scale for one in requests}) == 3
    for one, canvas in zip(requests, canvases, strict=True):
        assert [control.scale for control in canvas.controls] == [scale * one.control_scale for scale in own]
        assert canvas.guidance.scale == one.guidance_scale
        assert np.array_equal(canvas.prompt.values, generator.prompts.embed(one.prompt))


def test_counterfactuals_share_their_draws(tmp_path: Path) -> None:
    crown = {"teeth": [11], "kind": "restoration", "part": "whole", "material": "gold crown"}
    generator = generator_of(tmp_path, findings=[crown], variants={"same_noise": True, "change": ["findings"]})
    requests = sample_requests(generator, record())
    assert len({(one.prompt, one.control_scale, one.guidance_scale) for one in requests}) == 1
    assert requests[0].control_scale != 1


def test_a_prompt_that_only_a_later_variant_draws_may_be_too_long(tmp_path: Path) -> None:
    generator = generator_of(tmp_path)
    short = sample_requests(generator, record())
    check_requests(generator, short)
    with pytest.raises(ConditionError) as caught:
        check_requests(generator, [*short, replace(short[0], prompt="tooth " * 90)])
    assert "tokens" in str(caught.value.found)


@pytest.mark.integration
def test_metadata_say_what_was_drawn_and_without_draws_bytes_are_as_before(
    tmp_path: Path, demo_members: Members
) -> None:
    write_tar(tmp_path / "c" / "a.tar", dict(sorted(demo_members.items())[:1]))
    plain: dict[str, Any] = {"sampling": {"variants": 2, "steps": 2, "guidance_scale": 2.0}, "engine": {"slots": 8}}
    narrow = {"control_scale": [1.0, 1.0], "guidance_scale": [2.0, 2.0], "prompts": ["{prompt}"]}
    pictures, metadata, spec = dict[str, list[bytes]](), list[dict[str, Any]](), small_spec(tmp_path, tmp_path)
    for name, draws in (("none", {}), ("narrow", narrow), ("wide", ALL)):
        spec = small_spec(tmp_path / "c", tmp_path / name, **plain, **({"randomise": draws} if draws else {}))
        build(spec, use_ray=False)
        assert problems(tmp_path / name) == []
        samples = dict(read_samples(str(tmp_path / name)))
        pictures[name] = [members["png"] for members in samples.values()]
        metadata = [json.loads(members["json"]) for members in samples.values()]
    assert pictures["narrow"] == pictures["none"]
    assert not {*pictures["wide"]} & {*pictures["none"]}
    (adapter, scale), *_ = spec.model.adapters.items()
    assert isinstance(scale, float)
    factors = {one["adapters"][adapter] / scale for one in metadata}
    assert len(factors) == 2
    assert all(0.5 <= factor <= 1.5 for factor in factors)
    assert all(1.5 <= one["guidance_scale"] <= 3.0 for one in metadata)
