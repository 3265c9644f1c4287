"""A whole build in one process: progress, resuming, failures, and what is left behind in the caller's process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from dentgen.errors import BuildError, BundleError
from dentgen.generation.generator import Generator
from dentgen.pipeline import run
from dentgen.pipeline.actors.dataset import make_with_dataset
from dentgen.pipeline.actors.elastic import make_with_pool
from dentgen.pipeline.actors.workers import Workers
from dentgen.pipeline.plan import adopt_plan, draft_plan, make_plan
from dentgen.pipeline.run import build, finish, make_units
from dentgen.pipeline.unit_outcome import UnitOutcome
from dentgen.shards.index import read_index
from dentgen.shards.lease import Lease, hold_lease
from dentgen.shards.ledger import committed_units
from dentgen.shards.plan import BuildLocation, Plan
from dentgen.spec.build import BuildSpec
from tests.conftest import problems, small_spec, write_tar


def quick_spec(source: Path, out: Path, /, **sections: dict[str, object]) -> BuildSpec:
    return small_spec(source, out, sampling={"steps": 1}, **sections)


@pytest.fixture
def lease(tmp_path: Path) -> Iterator[Lease]:
    with hold_lease(str(tmp_path / "out"), 60) as held:
        yield held


def test_a_build_reports_progress_and_a_second_run_finds_it_done(small_source: Path, tmp_path: Path) -> None:
    spec, seen = quick_spec(small_source, tmp_path / "out"), list[tuple[int, int]]()
    first = build(spec, use_ray=False, progress=lambda *counts: seen.append(counts))
    assert seen == [(4, 10), (6, 10), (10, 10)]
    assert (first.made, first.index.written, first.actors) == (3, 10, ())
    assert Path(first.report) == tmp_path / "out" / "report.html"
    second = build(spec, use_ray=False, progress=lambda *counts: seen.append(counts))
    assert (second.made, second.index) == (0, first.index)
    assert len(seen) == 3
    assert problems(tmp_path / "out") == []


def test_a_build_leaves_the_threads_of_its_caller_alone(small_source: Path, tmp_path: Path) -> None:
    spec = quick_spec(small_source, tmp_path / "out", source={"limit": 1})
    torch.set_num_threads(2)
    try:
        build(spec, use_ray=False)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_units_run_with_the_threads_of_the_plan(
    small_source: Path, tmp_path: Path, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, seen = quick_spec(small_source, tmp_path / "out", engine={"threads": 2}), list[int]()
    plan = make_plan(spec)

    def noted(_: Plan) -> Generator:
        seen.append(torch.get_num_threads())
        raise BuildError("planted")

    monkeypatch.setattr(run, "load_planned_generator", noted)
    with pytest.raises(BuildError):
        make_units(plan, plan.units, BuildLocation.of(spec), None, lease)
    assert (seen, torch.get_num_threads()) == ([2], 1)


def test_failed_units_are_named_and_the_others_committed(small_source: Path, tmp_path: Path, lease: Lease) -> None:
    spec = quick_spec(small_source, tmp_path / "out")
    plan = adopt_plan(str(tmp_path / "out"), draft_plan(spec))
    (small_source / "a.tar").unlink()
    with pytest.raises(BuildError) as caught:
        make_units(plan, plan.units, BuildLocation.of(spec), None, lease)
    assert all(fact in caught.value.message for fact in ("2 of 3 units", "000000", "a.tar"))
    assert caught.value.advice
    assert committed_units(str(tmp_path / "out")) == {"000002"}
    with pytest.raises(BuildError) as unfinished:
        finish(str(tmp_path / "out"), plan)
    assert "000000" in unfinished.value.found
    assert not (tmp_path / "out" / "_SUCCESS").exists()


def test_no_pending_unit_needs_no_model(small_source: Path, tmp_path: Path, lease: Lease) -> None:
    spec = quick_spec(small_source, tmp_path / "out", model={"bundle": "no-such-bundle"})
    plan = make_plan(quick_spec(small_source, tmp_path / "out"))
    assert make_units(plan, [], BuildLocation.of(spec), None, lease) == ()


def collect(lease: Lease, *outcomes: UnitOutcome) -> list[int]:
    seen: list[int] = []
    run._collect(iter(outcomes), len(outcomes), lease, seen.append)
    return seen


@pytest.mark.parametrize(
    ("actors", "expected"), [(1, make_with_dataset), (3, make_with_dataset), ({"min": 2, "max": 2}, make_with_pool)]
)
def test_a_number_of_actors_is_ray_datas_and_a_range_is_a_pools(
    actors: object, expected: object, small_source: Path, tmp_path: Path, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen: list[object] = []
    monkeypatch.setattr(run, "make_with_ray", lambda *given, **_: chosen.append(given[-1]))
    spec = small_spec(small_source, tmp_path / "out", pipeline={"actors": actors})
    plan = make_plan(spec)
    make_units(plan, plan.units, BuildLocation.of(spec), Workers(settings=spec.pipeline), lease)
    assert chosen == [expected]


def test_outcomes_are_added_up(lease: Lease) -> None:
    assert collect(lease, UnitOutcome(0, 4), UnitOutcome(2, 2), UnitOutcome(1, 4)) == [4, 6, 10]


def test_a_failed_unit_does_not_stop_the_others(lease: Lease) -> None:
    seen: list[int] = []
    outcomes = [UnitOutcome(0, 4), UnitOutcome(1, 0, "planted"), UnitOutcome(2, 4)]
    with pytest.raises(BuildError) as caught:
        run._collect(iter(outcomes), 3, lease, seen.append)
    assert seen == [4, 4, 8]
    assert all(fact in caught.value.message for fact in ("1 of 3", "000001", "planted"))


def test_a_dead_actor_stops_the_build_at_once(lease: Lease) -> None:
    seen: list[int] = []
    outcomes = iter([UnitOutcome(1, 0, "planted", fatal=True), UnitOutcome(2, 4)])
    with pytest.raises(BuildError) as caught:
        run._collect(outcomes, 2, lease, seen.append)
    assert all(fact in caught.value.message for fact in ("000001", "planted"))
    assert next(outcomes).unit == 2, "the next outcome was not waited for"


def test_finishing_again_gives_the_same_dataset(small_source: Path, tmp_path: Path) -> None:
    spec = quick_spec(small_source, tmp_path / "out", source={"limit": 1})
    build(spec, use_ray=False)
    before = {name: (tmp_path / "out" / name).read_bytes() for name in ("index.json", "samples.parquet", "README.md")}
    index, _ = finish(str(tmp_path / "out"), make_plan(spec))
    assert index == read_index(str(tmp_path / "out"))
    assert {name: (tmp_path / "out" / name).read_bytes() for name in before} == before


def test_a_failed_start_leaves_nothing_of_its_own_and_everything_of_others(small_source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    spec = quick_spec(small_source, out, model={"adapters": {"misspelt": 1.0}})
    with pytest.raises(BundleError):
        build(spec, use_ray=False)
    assert not out.exists()
    (out / "mine" / "empty").mkdir(parents=True)
    with pytest.raises(BundleError):
        build(spec, use_ray=False)
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*")) == ["mine", "mine/empty"]


@pytest.mark.parametrize("taken", [False, True])
def test_a_failed_start_removes_no_plan_of_a_build_that_took_over(
    taken: bool, small_source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"

    def fails(*_: object, **__: object) -> None:
        if taken:
            other = {**json.loads((out / "lease.json").read_bytes()), "owner": "another"}
            (out / "lease.json").write_text(json.dumps(other))
        raise BuildError("planted")

    monkeypatch.setattr(run, "make_units", fails)
    with pytest.raises(BuildError):
        build(quick_spec(small_source, out), use_ray=False)
    assert (out / "plan" / "000000.json").exists() == taken


def test_the_first_reasons_of_rejections_are_told(tmp_path: Path, demo_members: dict[str, dict[str, bytes]]) -> None:
    whole, *torn = sorted(demo_members)[:3]
    members = {key: {**demo_members[key], "seg.png": b"torn"} for key in torn}
    write_tar(tmp_path / "s" / "a.tar", {whole: demo_members[whole], **members})
    outcome = build(quick_spec(tmp_path / "s", tmp_path / "out"), use_ray=False)
    assert len(outcome.reasons) == 2
    assert outcome.rejected == {"unreadable": 4} == dict(outcome.run.rejected)
    assert (outcome.run.samples, outcome.run.units, outcome.run.retries) == (6, len(outcome.index.shards) + 1, 0)
    assert outcome.run.bytes == sum(shard.bytes for shard in outcome.index.shards)
    assert outcome.seconds > 0
    assert all(key in reason for key, reason in zip(torn, outcome.reasons, strict=True))
