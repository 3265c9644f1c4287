"""``dentgen plan``: what a build would do, and what it would cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dentgen.cli.build_options import Overrides, Spec, read_build
from dentgen.cli.progress import ConsoleProgress, announce
from dentgen.errors import OutOfMemoryError
from dentgen.redaction import shown_name

if TYPE_CHECKING:
    from dentgen.shards.plan import Plan


def plan(
    spec: Spec,
    set_: Overrides = None,
    *,
    measure: Annotated[bool, typer.Option(help="Generate a few samples to measure size and time.")] = True,
    probe: Annotated[bool, typer.Option("--probe", help="Measure how many engine.slots pay on this machine.")] = False,
    most_slots: Annotated[int, typer.Option(min=1, help="Largest number that --probe tries.")] = 64,
    price: Annotated[
        float | None, typer.Option(metavar="PER_HOUR", min=0, help="Money for an hour of one actor's GPU, or CPU.")
    ] = None,
) -> None:
    """Show what a build would do, and how much space and time it would take; writes nothing.

    Example: dentgen plan jobs/specs/demo.yaml --probe
    """
    announce(f"plan: {spec}")
    from dentgen.pipeline.estimate import estimate
    from dentgen.pipeline.plan import make_plan

    build_spec = read_build(spec, set_)
    with ConsoleProgress("indexing", "shard") as progress:
        made = make_plan(build_spec, progress)
    _print_plan(made)
    if probe:
        _probe_slots(made, most_slots)
    elif measure:
        expected = estimate(made, build_spec.source.path)
        if expected is None:
            typer.echo("size and time: unknown, no sample of the first readable unit could be generated")
            return
        actors, kind = build_spec.pipeline.fewest_actors, "GPU" if made.environment["device"] == "cuda" else "CPU"
        typer.echo(expected.describe(made.planned, actors))
        for line in expected.describe_cost(made.planned, actors, kind, price):
            typer.echo(line)


def _print_plan(plan: Plan) -> None:
    shards: set[str] = set()
    records = 0
    for unit in plan.units:
        shards.add(unit.shard)
        records += unit.records
        if unit.problem:
            typer.echo(f"will be rejected: {shown_name(unit.problem)}")
    typer.echo(f"{len(shards)} condition shards, {records} records")
    typer.echo(f"{len(plan.units)} units, {plan.planned} samples")
    typer.echo(f"spec digest {plan.spec_digest}")


def _probe_slots(plan: Plan, limit: int) -> None:
    from dentgen.generation.generator import load_planned_generator
    from dentgen.generation.threads import torch_threads
    from dentgen.pipeline.slot_probe import advised_slots, probe_slots

    rates = []
    with torch_threads(plan.spec.engine.threads):
        for rate in probe_slots(load_planned_generator(plan), limit):
            typer.echo(str(rate))
            rates.append(rate)
    advised = advised_slots(rates)
    if not advised:
        raise OutOfMemoryError("not even the smallest engine fits into the device's memory")
    typer.echo(f"engine.slots: {advised} is the smallest number within 3 % of the fastest here; "
               "another number of slots gives another dataset")  # fmt: skip
