"""Oversampling: records with wanted attributes get more variants, everything is counted, and no other byte changes."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dentgen.errors import BuildError, SpecError
from dentgen.pipeline.plan import adopt_plan, make_plan
from dentgen.pipeline.run import build
from dentgen.shards.ledger import read_ledger
from dentgen.shards.reader import read_samples
from dentgen.spec import SourceSpec
from dentgen.spec_file import read_spec
from tests.conftest import problems, small_spec, write_tar

Members = dict[str, dict[str, bytes]]
OVERSAMPLE = {"light": {"harsh": 3}, "caries": {"any": 2}}


@pytest.fixture
def source(tmp_path: Path, demo_members: Members) -> Path:
    """Four records: harsh light and caries, caries alone, neither, and a damaged one under harsh light."""
    folder = tmp_path / "conditions"
    chosen = sorted(demo_members)[:4]
    attributes = [("harsh", 2), ("ring", 1), ("ring", 0), ("harsh", 0)]
    records = {}
    for key, (light, caries) in zip(chosen, attributes, strict=True):
        metadata = json.loads(demo_members[key]["json"]) | {"light": light, "caries": caries}
        records[key] = demo_members[key] | {"json": json.dumps(metadata).encode()}
    records[chosen[3]]["seg.png"] = b"no picture"
    write_tar(folder / "a.tar", records)
    return folder


def test_wanted_records_get_more_variants_and_others_stay_as_they_are(source: Path, tmp_path: Path) -> None:
    spec = small_spec(source, tmp_path / "more", quality={"max_rejected": 1.0})
    more = spec.model_copy(update={"source": spec.source.model_copy(update={"oversample": OVERSAMPLE})})
    plan = make_plan(more)
    assert [unit.repeats for unit in plan.units] == [(3,), (2,), (1,), (3,)]
    assert plan.planned == 2 * (3 + 2 + 1 + 3)
    build(more, use_ray=False)
    assert problems(tmp_path / "more") == []
    plain = small_spec(source, tmp_path / "plain", quality={"max_rejected": 1.0})
    build(plain, use_ray=False)
    made, usual = dict(read_samples(str(tmp_path / "more"))), dict(read_samples(str(tmp_path / "plain")))
    assert len(made) == 2 * (3 + 2 + 1)
    assert usual.keys() < made.keys()
    assert all(usual[key]["png"] == made[key]["png"] for key in usual), "the first variants are the usual ones"
    assert len({members["png"] for members in made.values()}) == len(made), "every variant has its own noise"
    records = [read_ledger(str(tmp_path / "more"), unit.name) for unit in plan.units]
    assert sum(record.written for record in records) == 12
    assert sum(record.rejected for record in records) == 6


def test_the_mix_is_in_the_table_and_the_report(source: Path, tmp_path: Path) -> None:
    spec = small_spec(source, tmp_path / "out", quality={"max_rejected": 1.0})
    build(spec.model_copy(update={"source": spec.source.model_copy(update={"oversample": OVERSAMPLE})}), use_ray=False)
    table = pq.read_table(tmp_path / "out" / "samples.parquet").to_pylist()
    lights = [row["light"] for row in table if row["status"] == "written"]
    assert (lights.count("harsh"), lights.count("ring")) == (6, 6)
    report = (tmp_path / "out" / "report.html").read_text()
    assert "caries" in report
    assert "harsh" in report


def test_the_largest_factor_counts() -> None:
    source = SourceSpec(oversample=OVERSAMPLE)
    assert source.times({"light": "harsh", "caries": "2"}) == 3
    assert source.times({"light": "ring", "caries": "1"}) == 2
    assert source.times({"light": "ring", "caries": "0"}) == source.times({}) == 1


@pytest.mark.parametrize(
    ("value", "complaint"),
    [("{lihgt: {harsh: 2}}", "lihgt"), ("{light: {harsh: 0}}", "light.harsh: 0"), ("{light: {harsh: 101}}", "101")],
)
def test_what_cannot_be_oversampled_is_refused(value: str, complaint: str) -> None:
    with pytest.raises(SpecError, match=complaint):
        read_spec(Path("jobs/specs/demo.yaml"), [f"source.oversample={value}"])


def test_attributes_that_changed_after_planning_are_noticed(source: Path, tmp_path: Path) -> None:
    spec = small_spec(source, tmp_path / "out", quality={"max_rejected": 1.0})
    spec = spec.model_copy(update={"source": spec.source.model_copy(update={"oversample": OVERSAMPLE})})
    adopt_plan(str(tmp_path / "out"), make_plan(spec))
    tar = source / "a.tar"
    tar.write_bytes(tar.read_bytes().replace(b'"light": "harsh"', b'"light": "horsh"', 1))
    with pytest.raises(BuildError, match="1 times"):
        build(spec, use_ray=False)
