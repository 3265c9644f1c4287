"""Commands that look after a build: ``dentgen verify``, ``repair``, ``report`` and ``gc``."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from dentgen.cli.build_options import Address, Out, RayChoice
from dentgen.cli.progress import ConsoleProgress, announce
from dentgen.redaction import shown, shown_name

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from dentgen.shards.plan import Plan


def verify(out: Out) -> None:
    """Re-hash, re-count and re-read every sample of a build, and compare all records of it.

    Exits 1 and prints one line per problem.

    Example: dentgen verify out/demo
    """
    announce(f"verify: {out}")
    from dentgen.pipeline.find_plan import find_plan
    from dentgen.pipeline.verify import verify as problems_of

    found = find_plan(out)
    standing = found.plan
    count = 0
    with ConsoleProgress("verifying", "unit") as progress:
        for problem in problems_of(out, progress):
            typer.echo(shown(str(problem)), err=True)
            count += 1
    typer.echo(f"{standing.planned} samples in {len(standing.units)} units: {count} problems")
    if found.later:
        typer.echo(f"not looked at: {found.later} units that the next version will add")
    if count:
        raise typer.Exit(1)


def repair(
    out: Out,
    source: Annotated[str | None, typer.Option(help="Where the condition shards are now, if they moved.")] = None,
    bundle: Annotated[str | None, typer.Option(help="Where the model bundle is now, if it moved.")] = None,
    *,
    ray: RayChoice = True,
    address: Address = None,
) -> None:
    """Regenerate damaged or missing units, to the bytes that were committed.

    Exits 1 if something is still wrong afterwards.

    Example: dentgen repair out/demo
    """
    announce(f"repair: {out}")
    from dentgen.pipeline.repair import repair as repair_build

    with ConsoleProgress("verifying", "unit") as checking, ConsoleProgress("repairing", "sample") as progress:
        outcome = repair_build(out, source, bundle, use_ray=ray, address=address, progress=progress, checking=checking)
    for problem in outcome.problems:
        typer.echo(f"found: {shown(str(problem))}")
    for problem in outcome.left:
        typer.echo(f"not repaired: {shown(str(problem))}", err=True)
    typer.echo(f"{len(outcome.problems)} problems, {len(outcome.units)} units regenerated, {len(outcome.left)} left")
    if outcome.left:
        raise typer.Exit(1)


def report(
    out: Out,
    *,
    rejected: Annotated[
        bool, typer.Option("--rejected", help="Make the best pictures that the gate rejected again, to show them.")
    ] = False,
) -> None:
    """Write the report of a finished build again.

    Pictures that the quality gate rejected are in no shard. With --rejected
    their units are made once more from the source, which takes as long as it
    did.

    Example: dentgen report out/demo
    """
    announce(f"report: {out}")
    from dentgen.report.html.page import write_report
    from dentgen.shards.plan_file import sealed_plan

    plan = sealed_plan(out)
    typer.echo(write_report(out, plan, rejected=_rejected_pictures(out, plan) if rejected else None))


def _rejected_pictures(out: str, plan: Plan) -> dict[str, NDArray[np.uint8]]:
    from dentgen.pipeline.rejected_pictures import remake_rejected
    from dentgen.report.html.gate import read_gate
    from dentgen.shards.index_reader import read_index

    gate = read_gate(out, plan, read_index(out))
    keys = [] if gate is None else [near.key for near in gate.best_rejected if not near.shard]
    with ConsoleProgress("making rejected pictures", "unit") as progress:
        return remake_rejected(out, plan, keys, progress)


def gc(out: Out, *, remove: Annotated[bool, typer.Option("--remove", help="Remove what is listed.")] = False) -> None:
    """List leftovers of killed attempts in a finished build.

    Only files under names that dentgen gives itself are listed; yours are never touched.

    Example: dentgen gc out/demo --remove
    """
    announce(f"gc: {out}")
    from dentgen.shards.gc import remove_files, stray_files
    from dentgen.shards.lease import hold_lease
    from dentgen.shards.plan_file import read_plan

    standing = read_plan(out)
    # what looks like a leftover may be what somebody is repairing right now
    with hold_lease(out, standing.spec.pipeline.lease_seconds) if remove else nullcontext():
        strays = stray_files(out, standing)
        for file in strays:
            typer.echo(f"{file.size:>12} {shown_name(file.url)}")
        if remove:
            remove_files(strays)
    typer.echo(f"{len(strays)} files, {sum(file.size for file in strays)} bytes{' removed' if remove else ''}")
