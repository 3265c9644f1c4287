"""What builds in Ray share: what actors get, why a build ends, and builds that cannot start."""

from __future__ import annotations

from pathlib import Path

import pytest
import ray

from dentgen.errors import SpecError
from dentgen.pipeline.actors import workers
from dentgen.pipeline.actors.dataset import make_with_dataset
from dentgen.pipeline.actors.elastic import make_with_pool
from dentgen.pipeline.actors.workers import HandOut, Workers, make_with_ray
from dentgen.shards.plan import BuildLocation, Plan
from dentgen.spec.pipeline import PipelineSpec
from tests.pipeline.actors.failing import FailingBackend, failing_plan


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return failing_plan(tmp_path)


def test_a_relative_output_of_a_submitted_job_is_refused(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    location = BuildLocation("/in", "out")
    with pytest.raises(SpecError) as caught:
        make_with_ray(plan, plan.units, location, Workers(), make_with_dataset, collect=lambda _: None)
    assert (caught.value.key, caught.value.found) == ("output.path", "out")


def test_the_last_line_of_an_error_of_ray_is_its_cause() -> None:
    error = ray.exceptions.RayError("a trace\n  more of it\nValueError: planted\n\n")
    assert workers._cause(error).endswith("ValueError: planted")
    assert "RayError" in workers._cause(ray.exceptions.RayError(""))


def test_actors_get_the_settings_of_this_run_and_no_units(plan: Plan) -> None:
    """The plan has those of the run that began the build."""
    settings, location = PipelineSpec(packers=3, stall_seconds=77), BuildLocation("/in", "/out")
    sent, *others = Workers(settings=settings, fill="unit", backend=FailingBackend).arguments(plan, location, "monitor")
    assert (sent.spec.pipeline, sent.spec.engine.fill, len(sent.units)) == (settings, "unit", 0)
    assert sent.spec_digest == plan.spec_digest
    assert others == [location, "monitor", FailingBackend, "text"]
    assert Workers().arguments(plan, location, "monitor")[0].spec.engine == plan.spec.engine


@pytest.mark.ray
@pytest.mark.parametrize("making", [make_with_dataset, make_with_pool])
def test_a_build_that_no_node_will_ever_have_room_for_ends_at_once(
    plan: Plan, making: HandOut, ray_local: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "starts_ray", lambda _: True)
    asking = Workers("local", PipelineSpec(gpus_per_actor=1), backend=FailingBackend)
    with pytest.raises(SpecError) as caught:
        make_with_ray(plan, plan.units, BuildLocation.of(plan.spec), asking, making, collect=lambda _: None)
    assert caught.value.key == "pipeline.gpus_per_actor"
