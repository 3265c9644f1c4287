"""Oversampling: records with wanted attributes get more variants, everything is counted, and no other byte changes."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dentgen.conditions.readers.source import list_shards
from dentgen.conditions.unit_records import read_unit
from dentgen.errors import BuildError, SpecChangedError, SpecError
from dentgen.pipeline.plan import adopt_plan, make_plan
from dentgen.pipeline.run import build
from dentgen.report.html.counts import read_summary
from dentgen.shards.ledger import read_ledger
from dentgen.shards.plan_file import read_plan
from dentgen.shards.reader import read_samples
from dentgen.spec.build import SourceSpec
from dentgen.spec.yaml_file import read_spec
from tests.conftest import problems, small_spec, write_tar

Members = dict[str, dict[str, bytes]]
OVERSAMPLE = {"lighting": {"harsh": 3}, "caries": {"any": 2}}


@pytest.fixture
def source(tmp_path: Path, demo_members: Members) -> Path:
    """Four records: harsh light and caries, caries alone, neither, and a damaged one under harsh light."""
    folder = tmp_path / "conditions"
    chosen = sorted(demo_members)[:4]
    attributes = [("harsh", 2), ("ring", 1), ("ring", 0), ("harsh", 0)]
    records = {}
    for key, (light, caries) in zip(chosen, attributes, strict=True):
        metadata = json.loads(demo_members[key]["json"]) | {"lighting": light, "caries": caries}
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
    lights = [row["lighting"] for row in table if row["status"] == "written"]
    assert (lights.count("harsh"), lights.count("ring")) == (6, 6)
    summary = read_summary(str(tmp_path / "out"), read_plan(str(tmp_path / "out")))
    mix = {d.title: {count.label: count.samples for count in d.counts} for d in summary.distributions}
    assert mix["Lighting"] == {"harsh": 6, "ring": 6}
    assert mix["Caries"] == {"2": 6, "1": 4, "0": 2}


def test_the_largest_factor_counts() -> None:
    source = SourceSpec(oversample=OVERSAMPLE)
    assert source.repeats({"lighting": "harsh", "caries": "2"}) == 3
    assert source.repeats({"lighting": "ring", "caries": "1"}) == 2
    assert source.repeats({"lighting": "ring", "caries": "0"}) == source.repeats({}) == 1


def test_values_are_written_as_they_come_to_mind() -> None:
    """YAML reads yes and 2 as no texts."""
    value = "{braces: {yes: 4}, missing_teeth: {2: 5}}"
    source = read_spec(Path("jobs/specs/demo.yaml"), [f"source.oversample={value}"]).source
    assert source.repeats({"braces": "yes"}) == 4
    assert source.repeats({"missing_teeth": "2"}) == 5
    assert source.repeats({"braces": "no", "missing_teeth": "1"}) == 1


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("{lihgt: {harsh: 2}}", "lihgt"),
        ("{lighting: {harsh: 0}}", "lighting.harsh: 0"),
        ("{lighting: {harsh: 101}}", "101"),
        ("{lighting: {harsh: true}}", "harsh"),
        ("{lighting: {harsh: 1.5}}", "harsh"),
    ],
)
def test_what_cannot_be_oversampled_is_refused(value: str, complaint: str) -> None:
    with pytest.raises(SpecError, match=complaint):
        read_spec(Path("jobs/specs/demo.yaml"), [f"source.oversample={value}"])


def test_attributes_that_changed_after_planning_are_noticed(source: Path, tmp_path: Path) -> None:
    """A plan that stands is compared with the source; a unit that is read compares its records once more."""
    spec = small_spec(source, tmp_path / "out", quality={"max_rejected": 1.0})
    spec = spec.model_copy(update={"source": spec.source.model_copy(update={"oversample": OVERSAMPLE})})
    plan = adopt_plan(str(tmp_path / "out"), make_plan(spec))
    tar = source / "a.tar"
    tar.write_bytes(tar.read_bytes().replace(b'"lighting": "harsh"', b'"lighting": "horsh"', 1))
    with pytest.raises(SpecChangedError, match="source"):
        build(spec, use_ray=False)
    (shard,) = list_shards(str(source))
    with pytest.raises(BuildError, match="ask for 3 times"):
        read_unit(spec, plan.units[0], shard)


def test_variants_between_two_prompts_are_divided_more_finely(source: Path, tmp_path: Path) -> None:
    spec = small_spec(
        source, tmp_path / "out", sampling={"variants": 1, "prompt_to": "dark gums"}, quality={"max_rejected": 1.0}
    )
    build(spec.model_copy(update={"source": spec.source.model_copy(update={"oversample": OVERSAMPLE})}), use_ray=False)
    shares: dict[str, list[float]] = {}
    for _, members in read_samples(str(tmp_path / "out")):
        metadata = json.loads(members["json"])
        shares.setdefault(metadata["source_key"], []).append(metadata["share"])
    assert sorted(shares.values()) == [[0.0], [0.0, 0.5, 1.0], [0.0, 1.0]]
