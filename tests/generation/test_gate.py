"""The gate in a unit: pictures are measured, rejected with values and limits, recorded, or made again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dentgen.documents.gate import FigureLimit
from dentgen.errors import BuildError
from dentgen.generation.gate import Gate, UnitGate, load_gate
from dentgen.generation.generator import load_planned_generator
from dentgen.models.judges import load_judges
from dentgen.pipeline.plan import make_plan
from dentgen.records import FIGURES, FigureName, GeneratedSample, SampleRequest
from dentgen.spec.quality import GateSpec
from tests.conftest import small_spec, write_tar
from tests.generation.finding_records import record as finding_record
from tests.generation.gated import OFF, made

Members = dict[str, dict[str, bytes]]
#: A limit that everything fails.
IMPOSSIBLE: dict[str, Any] = {**OFF, "luminance": {"least": 2.0}}


@pytest.fixture
def source(tmp_path: Path, demo_members: Members) -> Path:
    write_tar(tmp_path / "s" / "x.tar", dict(sorted(demo_members.items())[:2]))
    return tmp_path / "s"


@pytest.mark.integration
def test_a_gate_that_nothing_fails_changes_no_picture_and_records_every_figure(source: Path, tmp_path: Path) -> None:
    plain, without, _ = made(source, tmp_path / "a", None)
    gated, record, _ = made(source, tmp_path / "b", {"limits": OFF})
    assert {key: members["png"] for key, members in gated.items()} == {
        key: members["png"] for key, members in plain.items()
    }
    assert "gate" not in json.loads(next(iter(plain.values()))["json"])
    assert all(status.gate is None for status in without.samples)
    for status in record.samples:
        assert status.gate is not None
        assert set(status.gate.figures) == set(FIGURES)
        assert [name for name, value in status.gate.figures.items() if value is None] in ([], ["distinct"])
        assert status.gate.failed == ()
        assert len(status.gate.fingerprint) == 64
        assert json.loads(gated[status.key]["json"])["gate"]["figures"] == status.gate.figures


def test_pictures_that_fail_are_rejected_with_value_and_limit(source: Path, tmp_path: Path) -> None:
    samples, record, _ = made(source, tmp_path / "a", {"limits": IMPOSSIBLE})
    assert samples == {}
    assert (record.written, record.rejected) == (0, 4)
    for status in record.samples:
        assert status.gate is not None
        assert status.gate.failed == ("luminance",)
        value = status.gate.figures["luminance"]
        assert status.reason == f"{status.key}: gate: luminance found {value:g}, expected at least 2"


@pytest.mark.integration
def test_pictures_that_fail_may_be_kept_and_recorded(source: Path, tmp_path: Path) -> None:
    plain, _, _ = made(source, tmp_path / "a", None)
    samples, record, calls = made(
        source, tmp_path / "b", {"limits": IMPOSSIBLE, "on_failure": "record"}
    )  # fmt: skip
    assert (record.written, record.rejected, len(calls)) == (4, 0, 1)
    assert all(status.gate is not None and status.gate.failed == ("luminance",) for status in record.samples)
    assert {key: members["png"] for key, members in samples.items()} == {
        key: members["png"] for key, members in plain.items()
    }


def test_judges_other_than_planned_are_refused(source: Path, tmp_path: Path) -> None:
    plan = make_plan(small_spec(source, tmp_path / "o", quality={"gate": {}}))
    assert plan.gate is not None
    other = plan.gate.model_copy(update={"judges_sha256": "other"})
    with pytest.raises(BuildError) as caught:
        load_planned_generator(replace(plan, gate=other))
    assert (caught.value.key, caught.value.expected) == ("quality.gate.judges", "other, as planned")
    assert load_gate(GateSpec(), plan.gate, "cpu").judges.digest == plan.gate.judges_sha256


def gate_of(limits: dict[FigureName, FigureLimit], **settings: Any) -> UnitGate:
    return UnitGate(Gate(GateSpec(**settings), load_judges("embedded"), limits))


def samples_of(pictures: list[np.ndarray], **changes: Any) -> list[GeneratedSample]:
    request = SampleRequest("jaw", finding_record(), 0, 3, 0, "a photo", {})
    return [
        GeneratedSample(replace(request, key=f"jaw-{variant}", variant=variant, **changes), picture)
        for variant, picture in enumerate(pictures)
    ]


def test_a_copy_is_told_from_another_picture_and_the_first_one_stays() -> None:
    rng = np.random.default_rng(4)
    shape = (*finding_record().shape, 3)
    one, other = (rng.integers(0, 256, shape, np.uint8) for _ in range(2))
    gate = gate_of({"distinct": FigureLimit(least=0.05)})
    kept, rejected = gate.judge(samples_of([one, other, one]))
    assert [sample.request.variant for sample in kept] == [0, 1]
    assert [sample.request.variant for sample in rejected] == [2]
    assert rejected[0].gate is not None
    assert rejected[0].gate.figures["distinct"] == 0
    assert kept[0].gate is not None
    assert kept[0].gate.figures["distinct"] is None
    _, again = gate.judge(samples_of([one]))
    assert [sample.request.variant for sample in again] == [0]


def test_counterfactuals_are_meant_to_look_alike() -> None:
    picture = np.random.default_rng(4).integers(0, 256, (*finding_record().shape, 3), np.uint8)
    gate = gate_of({"distinct": FigureLimit(least=0.05)})
    kept, rejected = gate.judge(samples_of([picture, picture], same_noise=True))
    assert (len(kept), len(rejected)) == (2, 0)
    other = replace(finding_record(), key="other")
    _, copied = gate.judge(samples_of([picture], same_noise=True, record=other))
    assert [one.gate.failed for one in copied if one.gate is not None] == [("distinct",)], "of another mouth"


def test_variants_that_keep_parts_of_a_photo_are_meant_to_look_alike() -> None:
    picture = np.random.default_rng(4).integers(0, 256, (*finding_record().shape, 3), np.uint8)
    gate = gate_of({"distinct": FigureLimit(least=0.05)})
    gate.alike = True
    kept, rejected = gate.judge(samples_of([picture, picture]))
    assert (len(kept), len(rejected)) == (2, 0)
