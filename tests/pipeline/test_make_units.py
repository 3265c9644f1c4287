"""Units made in one process or by Ray: threads, failures, a lost lease, and which way is taken."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from dentgen.errors import BuildError
from dentgen.generation.generator import Generator
from dentgen.models.bundle import Bundle
from dentgen.pipeline import make_units as module
from dentgen.pipeline.actors.dataset import make_with_dataset
from dentgen.pipeline.actors.elastic import make_with_pool
from dentgen.pipeline.actors.workers import Workers
from dentgen.pipeline.finish import finish
from dentgen.pipeline.make_units import make_units
from dentgen.pipeline.plan import adopt_plan, draft_plan, make_plan
from dentgen.pipeline.unit_outcome import UnitOutcome
from dentgen.shards.lease import Lease, hold_lease
from dentgen.shards.ledger import committed_units
from dentgen.shards.plan import BuildLocation, Plan
from dentgen.spec.build import BuildSpec
from tests.conftest import small_spec


def quick_spec(source: Path, out: Path, /, **sections: dict[str, object]) -> BuildSpec:
    return small_spec(source, out, sampling={"steps": 1}, **sections)


@pytest.fixture
def lease(tmp_path: Path) -> Iterator[Lease]:
    with hold_lease(str(tmp_path / "out"), 60) as held:
        yield held


def test_units_run_with_the_threads_of_the_plan(
    small_source: Path, tmp_path: Path, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, seen = quick_spec(small_source, tmp_path / "out", engine={"threads": 2}), list[int]()
    plan = make_plan(spec)

    def noted(_: Plan, loaded: Bundle | None) -> Generator:
        seen.append(torch.get_num_threads())
        raise BuildError("planted")

    monkeypatch.setattr(module, "load_planned_generator", noted)
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
    module._collect(iter(outcomes), len(outcomes), lease, seen.append)
    return seen


@pytest.mark.parametrize(
    ("actors", "expected"), [(1, make_with_dataset), (3, make_with_dataset), ({"min": 2, "max": 2}, make_with_pool)]
)
def test_a_number_of_actors_is_ray_datas_and_a_range_is_a_pools(
    actors: object, expected: object, small_source: Path, tmp_path: Path, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen: list[object] = []
    monkeypatch.setattr(module, "make_with_ray", lambda *given, **_: chosen.append(given[-1]))
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
        module._collect(iter(outcomes), 3, lease, seen.append)
    assert seen == [4, 4, 8]
    assert all(fact in caught.value.message for fact in ("1 of 3", "000001", "planted"))


def test_a_dead_actor_stops_the_build_at_once(lease: Lease) -> None:
    seen: list[int] = []
    outcomes = iter([UnitOutcome(1, 0, "planted", fatal=True), UnitOutcome(2, 4)])
    with pytest.raises(BuildError) as caught:
        module._collect(outcomes, 2, lease, seen.append)
    assert all(fact in caught.value.message for fact in ("000001", "planted"))
    assert next(outcomes).unit == 2, "the next outcome was not waited for"
