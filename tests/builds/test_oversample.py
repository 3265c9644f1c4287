"""Oversampling: records with wanted attributes get more variants, all are counted, and no other byte changes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dentgen.conditions.readers.source import list_shards
from dentgen.conditions.unit_records import read_unit
from dentgen.errors import BuildError, SpecChangedError
from dentgen.pipeline.plan import adopt_plan, draft_plan, make_plan
from dentgen.pipeline.run import build
from dentgen.report.html.counts import read_summary
from dentgen.shards.ledger import read_ledger
from dentgen.shards.plan_file import read_plan
from dentgen.shards.reader import read_samples
from dentgen.spec.build import BuildSpec
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


def oversampled(source: Path, out: Path, **sampling: object) -> BuildSpec:
    return small_spec(source, out, source={"oversample": OVERSAMPLE}, sampling={"steps": 1, **sampling})


@pytest.mark.slow
def test_wanted_records_get_more_variants_and_the_others_do_not_change(source: Path, tmp_path: Path) -> None:
    more = oversampled(source, tmp_path / "more")
    plan = make_plan(more)
    assert [unit.repeats for unit in plan.units] == [(3,), (2,), (1,), (3,)]
    assert plan.planned == 2 * (3 + 2 + 1 + 3)
    build(more, use_ray=False)
    assert problems(tmp_path / "more") == []
    build(small_spec(source, tmp_path / "plain", sampling={"steps": 1}), use_ray=False)
    made, plain = dict(read_samples(str(tmp_path / "more"))), dict(read_samples(str(tmp_path / "plain")))
    assert len(made) == 2 * (3 + 2 + 1)
    assert plain.keys() < made.keys()
    assert all(plain[key]["png"] == made[key]["png"] for key in plain), "the first variants are those of a plain build"
    assert len({members["png"] for members in made.values()}) == len(made), "every variant has its own noise"
    records = [read_ledger(str(tmp_path / "more"), unit.name) for unit in plan.units]
    assert sum(record.written for record in records) == 12
    assert sum(record.rejected for record in records) == 6


@pytest.mark.integration
def test_the_mix_is_in_the_table_and_the_report(source: Path, tmp_path: Path) -> None:
    build(oversampled(source, tmp_path / "out"), use_ray=False)
    table = pq.read_table(tmp_path / "out" / "samples.parquet").to_pylist()
    lights = [row["lighting"] for row in table if row["status"] == "written"]
    assert (lights.count("harsh"), lights.count("ring")) == (6, 6)
    summary = read_summary(str(tmp_path / "out"), read_plan(str(tmp_path / "out")))
    mix = {d.title: {count.label: count.samples for count in d.counts} for d in summary.distributions}
    assert mix["Lighting"] == {"harsh": 6, "ring": 6}
    assert mix["Caries"] == {"2": 6, "1": 4, "0": 2}


@pytest.mark.slow
def test_attributes_that_changed_after_planning_are_noticed(source: Path, tmp_path: Path) -> None:
    """The published plan is compared with the source; a unit compares its records once more as it reads them."""
    spec = oversampled(source, tmp_path / "out")
    plan = adopt_plan(str(tmp_path / "out"), draft_plan(spec))
    build(spec, use_ray=False)
    tar = source / "a.tar"
    tar.write_bytes(tar.read_bytes().replace(b'"lighting": "harsh"', b'"lighting": "horsh"', 1))
    with pytest.raises(SpecChangedError) as changed:
        build(spec, use_ray=False)
    assert "4 units -> " in changed.value.message
    (shard,) = list_shards(str(source))
    with pytest.raises(BuildError) as caught:
        read_unit(spec, plan.units[0], shard)
    assert caught.value.file == str(tar)
    unpinned = replace(plan.units[0], shard_tag="", shard_content="")
    with pytest.raises(BuildError) as caught:
        read_unit(spec, unpinned, shard)
    assert "horsh" in caught.value.found


@pytest.mark.integration
def test_variants_between_two_prompts_are_divided_more_finely(source: Path, tmp_path: Path) -> None:
    build(oversampled(source, tmp_path / "out", variants=1, prompt_to="dark gums"), use_ray=False)
    shares: dict[str, list[float]] = {}
    for _, members in read_samples(str(tmp_path / "out")):
        metadata = json.loads(members["json"])
        shares.setdefault(metadata["source_key"], []).append(metadata["share"])
    assert sorted(shares.values()) == [[0.0], [0.0, 0.5, 1.0], [0.0, 1.0]]
