"""Run a build: plan, make and commit what is pending through Ray Data, seal.

Started again it goes on: what is pending is the plan less the ledger. Refuses to know how a unit is made.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dentgen.conditions.sources import list_shards
from dentgen.errors import BuildError
from dentgen.generate import generate_unit, make_engine, start_generation
from dentgen.pipeline.plan import adopt_plan, make_plan
from dentgen.records import DatasetIndex, Plan, Unit
from dentgen.report.contact_sheet import write_contact_sheet
from dentgen.shards.index import seal
from dentgen.shards.ledger import commit, committed_units
from dentgen.spec import BuildSpec, EngineSpec

if TYPE_CHECKING:
    import ray.data

_LOG = logging.getLogger(__name__)

#: Called with (samples done now, samples planned) after every committed unit.
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class BuildOutcome:
    """What a build came to.

    Attributes:
        index: The sealed index.
        contact_sheet: Where the contact sheet is.
        made: Units made by this run; the others were done before.
    """

    index: DatasetIndex
    contact_sheet: str
    made: int


def build(spec: BuildSpec, *, use_ray: bool = True, progress: Progress | None = None) -> BuildOutcome:
    """Build a dataset, or go on with one that was begun.

    Args:
        spec: What to build.
        use_ray: Make units in Ray actors; otherwise one after the other in this process.
        progress: Told after every unit.

    Raises:
        SpecChangedError: If the output was begun differently.
        BuildError: If a unit failed; everything committed stays, and a second run goes on.
    """
    out = spec.output.path
    plan = adopt_plan(out, make_plan(spec))
    plan = plan.model_copy(update={"spec": spec.model_copy(update={"engine": _engine(plan)}).model_dump(mode="json")})
    done = committed_units(out)
    pending = [unit for unit in plan.units if unit.name not in done]
    _LOG.info("%s: %d units planned, %d pending", out, len(plan.units), len(pending))
    finished = sum(unit.records for unit in plan.units if unit.name in done) * spec.sampling.variants
    if pending:
        outcomes = _with_ray(plan, pending, spec) if use_ray else _in_process(plan, pending, spec)
        for samples in outcomes:
            finished += samples
            if progress is not None:
                progress(finished, plan.planned)
    index = seal(out, plan)
    return BuildOutcome(index, write_contact_sheet(out), len(pending))


def _engine(plan: Plan) -> EngineSpec:
    """The engine section that the plan resolved."""
    return BuildSpec.model_validate(plan.spec).engine


def _in_process(plan: Plan, pending: list[Unit], spec: BuildSpec) -> Iterator[int]:
    """The whole build in plain Python."""
    generation = start_generation(plan)
    engine = make_engine(generation)
    shards = {shard.name: shard for shard in list_shards(spec.source.path, spec.source.format)}
    for unit in pending:
        result = generate_unit(generation, unit, shards[unit.shard], engine.run)
        commit(spec.output.path, unit, result.shard, result.record)
        yield len(result.record.samples)


def _with_ray(plan: Plan, pending: list[Unit], spec: BuildSpec) -> Iterator[int]:
    """The build through Ray Data: one row is one unit, actors make, tasks commit."""
    failures = []
    for row in unit_dataset(plan, pending, spec).iter_rows():
        if row["error"]:
            failures.append(f"unit {row['unit']:06d}: {row['error']}")
            _LOG.error(failures[-1])
        else:
            yield int(row["written"]) + int(row["rejected"])
    if failures:
        raise BuildError(f"{len(failures)} of {len(pending)} units failed; the first: {failures[0]}")


def unit_dataset(plan: Plan, pending: list[Unit], spec: BuildSpec) -> ray.data.Dataset:
    """The Ray Dataset of a build: range over pending units, an async actor pool, a commit task."""
    import ray.data

    from dentgen.pipeline.stages import UnitMaker, commit_made

    _connect(spec)
    context = ray.data.DataContext.get_current()
    context.max_errored_blocks = 0
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    plan_json = plan.model_dump_json()
    on_gpu = plan.environment["device"] == "cuda"
    made = ray.data.range(len(pending), override_num_blocks=len(pending)).map_batches(
        UnitMaker,
        fn_constructor_args=(plan_json, [unit.id for unit in pending]),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(
            size=spec.pipeline.actors, max_tasks_in_flight_per_actor=4, max_concurrent_calls_per_actor=2
        ),
        num_cpus=0 if on_gpu else _actor_cpus(spec.pipeline.actors),
        num_gpus=1 if on_gpu else 0,
    )
    committing: Callable[..., Any] = commit_made
    return made.map_batches(committing, fn_kwargs={"out": spec.output.path}, batch_size=1, num_cpus=0.25)


def _actor_cpus(actors: int) -> float:
    """CPUs that an actor reserves: one, or less where the actors would leave none to read and commit with."""
    import ray

    available = float(ray.cluster_resources().get("CPU", 1))  # type: ignore[no-untyped-call]
    return min(1.0, max(0.0, available - 1) / actors)


def _connect(spec: BuildSpec) -> None:
    """Join the cluster that the environment names, else start Ray here."""
    import ray

    if ray.is_initialized():
        return
    threads = str(spec.engine.threads)
    runtime = {"env_vars": {"OMP_NUM_THREADS": threads, "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}}
    dashboard = None if "RAY_ADDRESS" in os.environ else False
    ray.init(runtime_env=runtime, logging_level=logging.WARNING, include_dashboard=dashboard)
