"""Members, metadata and statuses of samples: what is stored says what was generated."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dentgen.conditions.labels import IGNORE
from dentgen.conditions.unit_records import RejectedRecord
from dentgen.generation.samples import (
    RejectedSample,
    rejected_statuses,
    sample_members,
    sample_metadata,
    written_status,
)
from dentgen.records import ConditionRecord, GeneratedSample, SampleRequest
from dentgen.shards.plan import Plan
from dentgen.shards.unit_table import UnitTable
from dentgen.spec.build import BuildSpec

SIZE = 16


def plan_of(**sections: dict[str, Any]) -> Plan:
    spec = BuildSpec.model_validate({"conditions": {"size": SIZE}, **sections})
    return Plan(0, spec, spec.digest(), "bundle-digest", {"torch": "9"}, UnitTable.of(()))


def request_of(variant: int = 1, seed: int = 5, **changes: Any) -> SampleRequest:
    rng = np.random.default_rng(3)
    record = ConditionRecord(
        key="jaw", group="patient", split="train", prompt="teeth",
        conditions={
            "segmentation": rng.integers(0, 3, (SIZE, SIZE), np.uint8),
            "lighting": np.full((SIZE, SIZE), 100, np.uint8),
        },
        fdi=np.where(np.eye(SIZE, dtype=bool), 36, 0).astype(np.uint8), photo=None, license="CC0-1.0",
        attributes={"view": "frontal"},
    )  # fmt: skip
    return SampleRequest(f"jaw-v{variant:03d}", replace(record, **changes), variant, 3, seed, "teeth", {})


def sample_of(request: SampleRequest) -> GeneratedSample:
    return GeneratedSample(request, np.random.default_rng(5).integers(0, 256, (SIZE, SIZE, 3), np.uint8))


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


def test_members_hold_the_arrays_bit_for_bit() -> None:
    sample = sample_of(request_of())
    members = sample_members(plan_of(), sample)
    assert members.keys() == {"png", "seg.png", "fdi.png", "light.png", "json"}
    record = sample.request.record
    assert (pixels(members["png"]) == sample.picture).all()
    assert (pixels(members["seg.png"]) == record.conditions["segmentation"]).all()
    assert (pixels(members["fdi.png"]) == record.fdi).all()
    assert (pixels(members["light.png"]) == record.conditions["lighting"]).all()
    assert json.loads(members["json"])["key"] == "jaw-v001"


def test_metadata_passes_the_bundles_restrictions_on() -> None:
    found = sample_metadata(replace(plan_of(), bundle_licenses=("creativeml-openrail-m",)), sample_of(request_of()))
    assert found.bundle_licenses == ("creativeml-openrail-m",)
    assert found.use_restrictions == ("https://huggingface.co/spaces/CompVis/stable-diffusion-license",)
    assert sample_metadata(plan_of(), sample_of(request_of())).use_restrictions == ()


def test_findings_are_carried_on_where_they_control_the_picture() -> None:
    request = request_of()
    lesion = np.where(np.eye(SIZE, dtype=bool), 3, 0).astype(np.uint8)
    conditions = {**request.record.conditions, "findings": lesion}
    sample = sample_of(replace(request, record=replace(request.record, conditions=conditions)))
    use = ["segmentation", "lighting", "findings"]
    members = sample_members(plan_of(conditions={"size": SIZE, "use": use}), sample)
    assert (pixels(members["lesion.png"]) == lesion).all()
    assert "lesion.png" not in sample_members(plan_of(), sample)


def test_every_png_has_the_level_of_the_spec() -> None:
    sample = GeneratedSample(request_of(), np.full((SIZE, SIZE, 3), 90, np.uint8))
    small, large = (sample_members(plan_of(output={"png_level": level}), sample) for level in (9, 0))
    for name in ("png", "seg.png", "fdi.png", "light.png"):
        assert len(large[name]) > len(small[name]), name
        assert (pixels(large[name]) == pixels(small[name])).all(), name


def test_missing_labels_are_ignore_and_none_with_a_warning() -> None:
    request = request_of(fdi=None, conditions={"lighting": np.zeros((SIZE, SIZE), np.uint8)})
    plan = plan_of(conditions={"size": SIZE, "use": ["lighting"]})
    members = sample_members(plan, sample_of(request))
    assert (pixels(members["seg.png"]) == IGNORE).all()
    assert (pixels(members["fdi.png"]) == 0).all()
    warnings = json.loads(members["json"])["warnings"]
    assert [warning.split()[4].strip(":") for warning in warnings] == ["segmentation", "FDI"]
    assert written_status(sample_of(request)).light_level is None


def test_metadata_names_model_sampling_and_provenance() -> None:
    plan = plan_of(
        model={"adapters": {"blended": 1.5}, "controlnets": {"edges": 0.5}, "loras": {"lcm": 0.7}},
        sampling={"steps": 6, "scheduler": "ddim", "seed": 11},
    )
    found = sample_metadata(plan, sample_of(request_of(seed=11)))
    assert (found.steps, found.scheduler, found.seed, found.variant) == (6, "ddim", 11, 1)
    assert (found.height, found.width) == (SIZE, SIZE)
    wide = sample_metadata(plan_of(conditions={"size": [SIZE, 2 * SIZE]}), sample_of(request_of()))
    assert (wide.height, wide.width) == (SIZE, 2 * SIZE)
    assert found.adapters == {"blended": 1.5, "edges": 0.5}
    assert found.loras == {"lcm": 0.7}
    assert (found.spec_digest, found.bundle_digest, found.software) == (
        plan.spec_digest,
        "bundle-digest",
        {"torch": "9"},
    )
    assert (found.source_license, found.group, found.split, found.teeth) == ("CC0-1.0", "patient", "train", (36,))


@pytest.mark.parametrize(
    ("sampling", "variants", "expected"),
    [
        ({"seed": 5}, 3, ("", 5, 0.0)),
        ({"seed": 5, "prompt_to": "gold"}, 3, ("gold", 5, 0.5)),
        ({"seed": 5, "seed_to": 9}, 3, ("", 9, 0.5)),
        ({"seed": 5, "seed_to": 9, "prompt_to": "gold"}, 1, ("", 5, 0.0)),
    ],
)
def test_interpolation_is_recorded(sampling: dict[str, Any], variants: int, expected: tuple[str, int, float]) -> None:
    request = replace(request_of(variant=min(1, variants - 1)), variants=variants)
    found = sample_metadata(plan_of(sampling=sampling), sample_of(request))
    assert (found.prompt_to, found.seed_to, found.share) == expected


def test_every_planned_sample_has_a_status() -> None:
    request = request_of()
    assert (written_status(sample_of(request)).status, written_status(sample_of(request)).light_level) == (
        "written",
        100,
    )
    (failed,) = rejected_statuses(RejectedSample(request, "diverged"))
    assert (failed.key, failed.status, failed.reason, failed.group) == ("jaw-v001", "rejected", "diverged", "patient")
    lost = rejected_statuses(RejectedRecord("a.tar#4", "?", 3, "a.tar: damaged"))
    assert [status.key for status in lost] == ["a.tar#4-v000", "a.tar#4-v001", "a.tar#4-v002"]
    assert {(status.source_key, status.status, status.reason) for status in lost} == {
        ("?", "rejected", "a.tar: damaged")
    }
