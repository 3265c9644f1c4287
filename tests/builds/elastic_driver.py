"""Builds on private clusters of raylets with logical GPUs that join and vanish on the way; prints what came of them."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import ray
from ray.cluster_utils import Cluster

from dentgen.benchmark.instant_backend import InstantBackend
from dentgen.documents.units import Unit
from dentgen.pipeline.actors.elastic import make_with_pool
from dentgen.pipeline.actors.workers import Workers, make_with_ray
from dentgen.pipeline.plan import adopt_plan, draft_plan
from dentgen.pipeline.run import build
from dentgen.pipeline.unit_outcome import UnitOutcome
from dentgen.shards.ledger import UnitResult, committed_units, read_ledgers
from dentgen.shards.plan import BuildLocation, Plan
from dentgen.spec.yaml_file import read_spec

_STORE: Final = 100 * 2**20
#: A lost node is noticed within two seconds.
_CHECKS: Final = {
    "health_check_period_ms": 500, "health_check_failure_threshold": 3, "health_check_initial_delay_ms": 0,
}  # fmt: skip
#: Longest wait for an actor; nothing passes or fails by how long it takes.
_SECONDS: Final = 300.0


class PatientBackend(InstantBackend):
    """Leaves a mark of its actor, and makes all but the first units only when there are as many marks as expected."""

    first: Final = 10

    def __init__(self, plan: Plan, location: BuildLocation) -> None:
        super().__init__(plan, location)
        self._marks = Path(location.output).parent / "marks"
        (self._marks / str(time.monotonic_ns())).touch()

    def make(self, unit: Unit, crashes: int) -> UnitResult:
        deadline = time.monotonic() + _SECONDS
        expected = int((self._marks.parent / "expected").read_text())
        while unit.id >= self.first and len(list(self._marks.iterdir())) < expected:
            if time.monotonic() > deadline:
                raise TimeoutError(f"fewer than {expected} actors after {_SECONDS} s")
            time.sleep(0.1)
        return super().make(unit, crashes)


def start_cluster(gpus: int) -> tuple[Cluster, list[Any]]:
    """A head without a GPU, and nodes with one each."""
    head = {"num_cpus": 2, "include_dashboard": False, "_system_config": _CHECKS, "object_store_memory": _STORE}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    return cluster, [cluster.add_node(num_cpus=1, num_gpus=1, object_store_memory=_STORE) for _ in range(gpus)]


def grow(spec_file: Path) -> dict[str, Any]:
    """One node with a GPU, joined by three more when two units are committed."""
    cluster, _ = start_cluster(1)
    spec = read_spec(spec_file)
    (spec_file.parent / "marks").mkdir()
    plan = adopt_plan(spec.output.path, draft_plan(spec))
    done: list[UnitOutcome] = []

    def collect(outcomes: Iterator[UnitOutcome]) -> None:
        for outcome in outcomes:
            done.append(outcome)
            if len(done) == 2:
                for _ in range(3):
                    cluster.add_node(num_cpus=1, num_gpus=1, object_store_memory=_STORE)

    workers = Workers(cluster.address, spec.pipeline, backend=PatientBackend)
    make_with_ray(plan, plan.units, BuildLocation.of(spec), workers, make_with_pool, collect=collect)
    records = read_ledgers(spec.output.path, (unit.name for unit in plan.units))
    made_by = [record.timing.worker for record in records if record.timing is not None]
    cluster.shutdown()  # type: ignore[no-untyped-call]
    errors = [outcome.error for outcome in done if outcome.error]
    return {"units": len(plan.units), "committed": len(made_by), "actors": len(set(made_by)), "errors": errors}


def shrink(spec_file: Path) -> dict[str, Any]:
    """Two nodes with a GPU, of which one is killed for good as soon as both have committed a unit."""
    cluster, nodes = start_cluster(2)
    spec, killed = read_spec(spec_file), list[int]()

    def progress(done: int, planned: int) -> None:
        out = spec.output.path
        records = read_ledgers(out, committed_units(out))
        made_by = {record.timing.worker for record in records if record.timing is not None}
        if not killed and len(made_by) > 1:
            cluster.remove_node(nodes[0], allow_graceful=False)
            killed.append(done)

    outcome = build(spec, address=cluster.address, progress=progress)
    assert not ray.is_initialized()
    cluster.shutdown()  # type: ignore[no-untyped-call]
    return {"written": outcome.index.written, "planned": outcome.index.planned, "killed": killed}


if __name__ == "__main__":
    scenario = {"grow": grow, "shrink": shrink}[sys.argv[1]]
    sys.stdout.write(json.dumps(scenario(Path(sys.argv[2]))) + "\n")
