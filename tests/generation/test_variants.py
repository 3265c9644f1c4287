"""Counterfactual sets: one factor differs from the reference and everything else is the same."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import binary_dilation

from dentgen.errors import ConditionError
from dentgen.generation.generator import load_generator
from dentgen.generation.requests import sample_requests
from dentgen.generation.variants import check_variants
from dentgen.pipeline.run import build
from dentgen.records import ConditionRecord, SampleRequest
from dentgen.shards.layout import SAMPLES
from dentgen.shards.reader import read_samples
from tests.conftest import problems, small_spec, write_tar
from tests.generation.finding_records import record

Members = dict[str, dict[str, bytes]]
CROWN: dict[str, Any] = {"teeth": [11], "kind": "restoration", "part": "whole", "prompt": "gold crown"}


def lit_record() -> ConditionRecord:
    """The record under a ring flash, with normals that lean to the right in the right half."""
    jaw = record(lighting="ring")
    normals = np.full((*jaw.shape, 3), 128, np.uint8)
    normals[..., 2] = 255
    normals[:, 32:] = (217, 128, 217)
    conditions = {**jaw.conditions, "normal": normals}
    return ConditionRecord(
        jaw.key, jaw.group, "", "front view, ring flash", conditions, jaw.fdi, None, "", {"lighting": "ring"}
    )


def requests_of(tmp_path: Path, jaw: ConditionRecord, variants: dict[str, Any], count: int = 3) -> list[SampleRequest]:
    spec = small_spec(
        tmp_path, tmp_path / "out", findings=[CROWN], variants=variants, sampling={"variants": count, "seed": 4}
    )
    return sample_requests(load_generator(spec), jaw)


def test_findings_change_and_nothing_else(tmp_path: Path) -> None:
    reference, first, second = requests_of(tmp_path, record(), {"same_noise": True, "change": ["findings"]})
    assert (reference.reference, reference.changed, reference.findings) == ("", "", ())
    assert reference.finding_labels is not None
    assert not reference.finding_labels.any()
    for request in (first, second):
        assert (request.reference, request.changed) == (reference.key, "findings")
        assert [one.kind for one in request.findings] == ["restoration"]
        assert (request.noise, request.prompt, request.seed) == (0, reference.prompt, reference.seed)
        assert request.finding_labels is not None
        outside = request.finding_labels == 0
        for name, array in reference.record.conditions.items():
            assert (request.record.conditions[name] == array)[outside].all(), name


def test_a_variant_in_which_nothing_was_drawn_is_no_counterfactual(tmp_path: Path) -> None:
    spec = small_spec(
        tmp_path, tmp_path / "out", findings=[{**CROWN, "probability": 0.5}], sampling={"variants": 12, "seed": 4},
        variants={"same_noise": True, "change": ["findings"]},
    )  # fmt: skip
    requests = sample_requests(load_generator(spec), record())[1:]
    assert {bool(request.findings) for request in requests} == {True, False}
    for request in requests:
        assert bool(request.changed) == bool(request.reference) == bool(request.findings)


def test_the_prompt_changes_and_nothing_else(tmp_path: Path) -> None:
    """Findings do not change here, so every variant has the same ones."""
    variants = {"same_noise": True, "change": ["prompt"], "prompts": ["yellow teeth", "white teeth"]}
    requests = requests_of(tmp_path, record(), variants)
    assert [request.prompt for request in requests] == ["a photo", "yellow teeth", "white teeth"]
    assert [request.changed for request in requests] == ["", "prompt", "prompt"]
    labels = [request.finding_labels for request in requests]
    assert labels[0] is not None
    assert labels[0].any()
    assert all(one is not None and (one == labels[0]).all() for one in labels)


def test_the_light_changes_and_no_prompt_names_one(tmp_path: Path) -> None:
    requests = requests_of(tmp_path, lit_record(), {"same_noise": True, "change": ["lighting"]})
    assert {request.prompt for request in requests} == {"front view, clinical lighting"}
    lights = [request.record.conditions["lighting"].astype(int) for request in requests]
    assert all(np.abs(a - b).mean() > 5 for a, b in ((lights[0], lights[1]), (lights[1], lights[2])))
    assert [request.record.attributes["lighting"] for request in requests] == ["ring", "relit", "relit"]
    for request in requests[1:]:
        for name in ("segmentation", "normal"):
            assert (request.record.conditions[name] == requests[0].record.conditions[name]).all(), name
        assert (request.controls["blended"] != requests[0].controls["blended"]).any()


def test_records_without_normals_cannot_be_lit_anew() -> None:
    with pytest.raises(ConditionError) as caught:
        check_variants(record(), ("lighting",))
    assert caught.value.file == "normal"
    check_variants(record(), ("findings", "prompt"))


def test_without_held_noise_every_variant_has_its_own(tmp_path: Path) -> None:
    requests = requests_of(tmp_path, record(), {})
    assert [request.noise for request in requests] == [0, 1, 2]
    assert {request.reference for request in requests} == {""}


@pytest.mark.slow
def test_pairs_differ_less_outside_the_finding_than_variants_do(tmp_path: Path, demo_members: Members) -> None:
    """A build of pairs beside a build of variants: the table names the pairs, and pictures are alike elsewhere."""
    write_tar(tmp_path / "s" / "a.tar", dict(sorted(demo_members.items())[:2]))
    sections: dict[str, Any] = {"conditions": {"size": 128}, "sampling": {"variants": 2, "steps": 4}}
    findings = [{**CROWN, "teeth": [11, 21, 16, 26, 36, 46], "prompt": "{prompt}, gold crown"}]
    held = {"same_noise": True, "change": ["findings"]}
    build(small_spec(tmp_path / "s", tmp_path / "pairs", findings=findings, variants=held, **sections), use_ray=False)
    build(small_spec(tmp_path / "s", tmp_path / "spread", **sections), use_ray=False)
    assert problems(tmp_path / "pairs") == []
    rows = pq.read_table(tmp_path / "pairs" / SAMPLES).to_pylist()
    assert [(row["reference"], row["changed"]) for row in rows] == [
        ("", "") if row["variant"] == 0 else (f"{row['source_key']}-v000", "findings") for row in rows
    ]
    samples, others = (dict(read_samples(str(tmp_path / name))) for name in ("pairs", "spread"))
    for row in rows[1::2]:
        assert json.loads(samples[row["key"]]["json"])["reference"] == row["reference"]
        labels = picture(samples[row["key"]]["finding.png"])
        assert not picture(samples[row["reference"]]["finding.png"]).any()
        pair, spread = (difference(of, row["reference"], row["key"]) for of in (samples, others))
        outside = ~binary_dilation(labels > 0, iterations=16)
        assert outside.mean() > 0.2
        assert pair[outside].mean() < 0.5 * spread[outside].mean()
        assert pair[labels > 0].mean() > 2 * pair[outside].mean()


def picture(content: bytes) -> NDArray[np.int16]:
    return np.asarray(Image.open(io.BytesIO(content))).astype(np.int16)


def difference(samples: Members, first: str, second: str) -> NDArray[np.int16]:
    return np.abs(picture(samples[first]["png"]) - picture(samples[second]["png"]))
