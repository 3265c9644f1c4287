"""Several actors in a process: each sends its own heartbeats, and they take units in turn."""

from __future__ import annotations

from pathlib import Path

import pytest
import ray

from dentgen.benchmark.instant_backend import InstantBackend
from dentgen.benchmark.shared_process import SharedProcesses
from dentgen.documents.units import Unit
from dentgen.pipeline.actors.watchdog import Watchdog
from dentgen.shards.plan import BuildLocation
from tests.pipeline.actors.two_units import until
from tests.report.fake_builds import fake_plan


@pytest.mark.ray
@pytest.mark.slow
def test_actors_of_a_process_are_watched_one_by_one(tmp_path: Path, ray_local: None) -> None:
    unit = Unit(id=7, shard="a.tar", start=0, stop=1, records=1, shard_bytes=1)
    with Watchdog(60) as watchdog:
        arguments = (fake_plan(), BuildLocation("/in", str(tmp_path)), watchdog.monitor, InstantBackend, "text")
        monitor = ray.get_actor(watchdog.monitor)
        start = SharedProcesses(3, 2, arguments).start
        handles = [start(f"actor {number}") for number in range(3)]
        assert handles[0] is handles[1]
        assert handles[2] is not handles[0]
        here = ray.get_runtime_context().get_node_id()
        assert ray.get([handle.ready.remote() for handle in handles], timeout=120) == [here] * 3
        for handle in handles:
            failed, made = ray.get(list(handle.make.remote(unit, False)), timeout=60)
            assert (failed, made.record.unit) == (None, 7)
        names = {"actor 0.0", "actor 0.1", "actor 2.0"}
        assert until(lambda: set(ray.get(monitor.read.remote())) == names, 20)
        ray.get(handles[0].stop.remote(), timeout=60)
        assert until(lambda: set(ray.get(monitor.read.remote())) == {"actor 2.0"}, 20)
        for handle in (handles[0], handles[2]):
            ray.kill(handle)
