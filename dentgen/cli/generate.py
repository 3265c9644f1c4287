"""``dentgen generate``: build a dataset, with a summary on one screen at the end."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dentgen.cli.build_options import Address, Overrides, RayChoice, Spec, read_build
from dentgen.cli.progress import ConsoleProgress, announce
from dentgen.errors import BuildError
from dentgen.redaction import shown_name

if TYPE_CHECKING:
    from dentgen.pipeline.run import BuildOutcome


def generate(
    spec: Spec,
    set_: Overrides = None,
    *,
    ray: RayChoice = True,
    address: Address = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="Preview: only the first N records, next to the output unless output.path is set."),
    ] = None,
    tick: Annotated[
        str,
        typer.Option(
            metavar="KEY", envvar="DENTGEN_TICK", help="Key of a scheduled run; a completed one does nothing."
        ),
    ] = "",
    on_changed: Annotated[
        Literal["refuse", "skip", "rebuild-as-new"],
        typer.Option(help="Condition shards that changed or vanished: refuse, keep what was built, or replace that."),
    ] = "refuse",
    lineage: Annotated[
        str | None,
        typer.Option(metavar="FILE|URL", envvar="OPENLINEAGE_URL", help="Takes OpenLineage events of the build."),
    ] = None,
) -> None:
    """Build a dataset, resume an interrupted build, or grow one by what is new in its source.

    Exits 1 if a unit failed, or if more samples were rejected than quality.max_rejected allows.

    Example: dentgen generate jobs/specs/demo.yaml --set sampling.steps=8 --limit 4
    """
    announce(f"generate: {spec}")
    from dentgen.pipeline.run import build
    from dentgen.spec.yaml_file import preview_spec

    build_spec = read_build(spec, set_)
    if limit is not None:
        chosen = any(override.startswith("output.path=") for override in set_ or ())
        build_spec = preview_spec(build_spec, limit, beside=not chosen)
    with ConsoleProgress("generating", "sample") as progress:
        outcome = build(
            build_spec, use_ray=ray, address=address, progress=progress, tick=tick, on_changed=on_changed,
            lineage=lineage,
        )  # fmt: skip
    for reason in outcome.reasons:
        typer.echo(f"rejected: {reason}", err=True)
    _require_few_rejected(outcome, build_spec.quality.max_rejected)
    if outcome.replayed:
        typer.echo(f"tick {shown_name(tick)} was completed before: version {outcome.index.version}")
        return
    for line in summary(outcome):
        typer.echo(line)
    typer.echo(f"dataset: {shown_name(build_spec.output.path)}")
    typer.echo(f"look at: {shown_name(outcome.report)}")


def summary(outcome: BuildOutcome) -> Iterator[str]:
    """What was built, and what this run did for it, a line each."""
    index, run = outcome.index, outcome.run
    yield f"{index.written} samples written, {index.rejected} rejected, of {index.planned} planned"
    size = sum(shard.bytes for shard in index.shards)
    version = f"already version {index.version}" if outcome.already else f"version {index.version}"
    yield f"{version}: {len(index.shards)} shards, {size / 1e6:.1f} MB"
    if outcome.rejected:
        yield "rejected: " + ", ".join(f"{count} {reason}" for reason, count in outcome.rejected.items())
    if not run.units:
        yield "this run: nothing was left to generate"
        return
    duration = timedelta(seconds=round(outcome.seconds))
    rate = run.samples / outcome.seconds if outcome.seconds else 0.0
    yield f"this run: {run.samples} samples, {run.bytes / 1e6:.1f} MB in {duration}, {rate:.3g} samples/s"
    again = f"{run.retries} units needed more than one attempt" if run.retries else "no unit needed a second attempt"
    yield f"{run.units} units, {again}"
    if outcome.actors:
        shares = [actor.beat.busy_share for actor in outcome.actors]
        yield f"{len(shares)} actors, engines busy {sum(shares) / len(shares):.0%} of the time"


def _require_few_rejected(outcome: BuildOutcome, limit: float) -> None:
    index = outcome.index
    if index.rejected > limit * index.planned:
        raise BuildError(
            f"{index.written} samples were written, but too many were rejected; {outcome.report} says why",
            key="quality.max_rejected",
            found=f"{index.rejected / index.planned:.1%} rejected ({index.rejected} of {index.planned})",
            expected=f"at most {limit:.1%}",
        )
