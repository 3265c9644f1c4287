"""Units through Ray: what actors get, errors as outcomes, and builds that cannot start."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from dentgen.benchmark.instant_backend import InstantBackend
from dentgen.documents import Unit
from dentgen.errors import BuildError, SpecError
from dentgen.pipeline.actors import workers
from dentgen.pipeline.actors.commit_stage import UnitOutcome
from dentgen.pipeline.actors.workers import Workers, make_with_ray
from dentgen.pipeline.plan import make_plan
from dentgen.shards.ledger import UnitResult, committed_units, read_ledgers
from dentgen.shards.plan import BuildLocation, Plan
from dentgen.shards.tar import tar_bytes
from dentgen.spec.build import PipelineSpec
from tests.conftest import small_spec


class FailingBackend(InstantBackend):
    """Fails at one unit, and is dead from another one on."""

    @property
    def dead(self) -> bool:  # type: ignore[override]
        """As an engine that died twice."""
        return self._dead

    _dead = False

    def make(self, unit: Unit, crashes: int) -> UnitResult:
        if unit.id == 1:
            raise BuildError("planted", key=f"unit {unit.name}")
        if unit.id == 2:
            self._dead = True
            raise MemoryError("planted")
        return super().make(unit, crashes)


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """A plan of three units without any map."""
    (tmp_path / "conditions").mkdir()
    (tmp_path / "conditions" / "a.tar").write_bytes(tar_bytes((f"r{number}", {"json": b"{}"}) for number in range(3)))
    sections: dict[str, dict[str, object]] = {"sampling": {"variants": 1}, "pipeline": {"samples_per_shard": 1}}
    return make_plan(small_spec(tmp_path / "conditions", tmp_path / "out", **sections))


@pytest.mark.ray
def test_units_are_committed_beside_the_actors_and_errors_are_told(plan: Plan, ray_local: None) -> None:
    """Commits in the actor would take the time of its engine."""
    found: dict[int, UnitOutcome] = {}
    failing = Workers(backend=FailingBackend)

    def collect(outcomes: Iterator[UnitOutcome]) -> None:
        found.update({outcome.unit: outcome for outcome in outcomes})

    (report,) = make_with_ray(plan, plan.units, BuildLocation.of(plan.spec), failing, collect=collect)
    assert found[0] == UnitOutcome(0, 1)
    assert "unit 000001" in found[1].error
    assert "Traceback" not in found[1].error
    assert "MemoryError" in found[2].error
    assert found[2].fatal, "the backend is dead"
    assert committed_units(plan.spec.output.path) == {"000000"}
    (timing,) = [record.timing for record in read_ledgers(plan.spec.output.path, ["000000"])]
    assert timing is not None
    assert str(timing.worker.rpartition(":")[2]) in report.beat.place


def test_a_relative_output_of_a_submitted_job_is_refused(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    with pytest.raises(SpecError) as caught:
        make_with_ray(
            plan, plan.units, BuildLocation("/in", "out"), Workers(), collect=lambda _: None
        )  # fmt: skip
    assert (caught.value.key, caught.value.found) == ("output.path", "out")


def test_the_last_line_of_an_error_of_ray_is_its_cause() -> None:
    error = ray.exceptions.RayError("a trace\n  more of it\nValueError: planted\n\n")
    assert workers._cause(error).endswith("ValueError: planted")
    assert "RayError" in workers._cause(ray.exceptions.RayError(""))


def test_actors_get_the_settings_of_this_run_and_no_units(plan: Plan) -> None:
    """The plan has those of the run that began the build."""
    settings = PipelineSpec(packers=3, stall_seconds=77)
    sent = workers._for_actors(plan, Workers(settings=settings, fill="unit"))
    assert (sent.spec.pipeline, sent.spec.engine.fill, len(sent.units)) == (settings, "unit", 0)
    assert sent.spec_digest == plan.spec_digest
    assert workers._for_actors(plan, Workers()).spec.engine == plan.spec.engine


@pytest.mark.ray
@pytest.mark.slow
def test_a_build_that_no_node_will_ever_have_room_for_ends_at_once(plan: Plan) -> None:
    asking = Workers("local", PipelineSpec(gpus_per_actor=1), backend=FailingBackend)
    with pytest.raises(SpecError) as caught:
        make_with_ray(plan, plan.units, BuildLocation.of(plan.spec), asking, collect=lambda _: None)
    assert caught.value.key == "pipeline.gpus_per_actor"
    assert not ray.is_initialized()
