"""The command line: one command, one call. Refuses to do any work itself.

Exit codes: 0 done; 1 problems found (a line each on standard error) or a failure on the way; 2 cannot be done as asked.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from dentgen.cli import models
from dentgen.errors import BuildError, DentgenError, OutOfMemoryError, exit_code

if TYPE_CHECKING:
    from dentgen.shards.plan import Plan

Address = Annotated[str | None, typer.Option(help="Ray cluster to join; otherwise the environment's, or a new one.")]
RayChoice = Annotated[bool, typer.Option(help="Make units in Ray actors, or one after the other in this process.")]

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Synthetic dental images that obey condition maps.")
app.add_typer(models.app, name="models")

Spec = Annotated[Path, typer.Argument(help="Build spec, YAML.")]
Out = Annotated[str, typer.Argument(help="Folder or URL of a build.")]
Overrides = Annotated[list[str] | None, typer.Option("--set", metavar="A.B=VALUE", help="Replace one key of the spec.")]


@app.command()
def generate(
    spec: Spec,
    set_: Overrides = None,
    *,
    ray: RayChoice = True,
    address: Address = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="Preview: the first N records, beside the output, or where --set output.path says."),
    ] = None,
) -> None:
    """Build a dataset, or go on with one that was begun."""
    from dentgen.cli.progress import ConsoleProgress
    from dentgen.pipeline.run import build
    from dentgen.spec.yaml_file import preview_spec, read_spec

    build_spec = read_spec(spec, set_ or ())
    if limit is not None:
        chosen = any(override.startswith("output.path=") for override in set_ or ())
        build_spec = preview_spec(build_spec, limit, beside=not chosen)
    with ConsoleProgress("generating", "sample") as progress:
        outcome = build(build_spec, use_ray=ray, address=address, progress=progress)
    index = outcome.index
    typer.echo(f"{index.written} samples written, {index.rejected} rejected, of {index.planned} planned")
    typer.echo(f"dataset: {build_spec.output.path}")
    typer.echo(f"look at: {outcome.report}")
    if index.rejected > build_spec.quality.max_rejected * index.planned:
        raise BuildError(f"{index.rejected / index.planned:.1%} of the samples were rejected, "
                         f"quality.max_rejected is {build_spec.quality.max_rejected:.1%}")  # fmt: skip


@app.command()
def plan(
    spec: Spec,
    set_: Overrides = None,
    *,
    measure: Annotated[bool, typer.Option(help="Make a few samples to measure bytes and time.")] = True,
    probe: Annotated[bool, typer.Option("--probe", help="Find how many engine.slots fit and pay here.")] = False,
    most_slots: Annotated[int, typer.Option(min=1, help="Largest number that --probe tries.")] = 64,
) -> None:
    """Say what a build would do: shards, records, units, samples; bytes and time expected."""
    from dentgen.cli.progress import ConsoleProgress
    from dentgen.pipeline.estimate import estimate
    from dentgen.pipeline.plan import make_plan
    from dentgen.spec.yaml_file import read_spec

    build_spec = read_spec(spec, set_ or ())
    with ConsoleProgress("indexing", "shard") as progress:
        made = make_plan(build_spec, progress)
    shards = len({unit.shard for unit in made.units})
    typer.echo(f"{shards} condition shards, {sum(unit.records for unit in made.units)} records")
    typer.echo(f"{len(made.units)} units, {made.planned} samples")
    for unit in made.units:
        if unit.problem:
            typer.echo(f"will be rejected: {unit.problem}")
    typer.echo(f"spec digest {made.spec_digest}")
    if probe:
        _probe_slots(made, most_slots)
    expected = estimate(made, build_spec) if measure and not probe else None
    if expected is not None:
        typer.echo(expected.describe(made.planned, build_spec.pipeline.actors))
    elif measure and not probe:
        typer.echo("bytes and time: unknown, no sample of the first unit that can be read could be made")


def _probe_slots(made: Plan, most: int) -> None:
    from dentgen.generation.generator import load_generator
    from dentgen.pipeline.slot_probe import advised_slots, probe_slots

    rates = []
    for rate in probe_slots(load_generator(made), most):
        typer.echo(str(rate))
        rates.append(rate)
    advised = advised_slots(rates)
    if not advised:
        raise OutOfMemoryError("not even the smallest engine fits into the device's memory")
    typer.echo(f"engine.slots: {advised} is the smallest number within 3 % of the fastest here; "
               "another number of slots is another dataset")  # fmt: skip


@app.command()
def status(out: Out) -> None:
    """Say how far a build is, and who builds."""
    from dentgen.shards.lease import describe_lease
    from dentgen.shards.ledger import committed_units
    from dentgen.shards.plan_file import read_plan

    if holder := describe_lease(out):  # before the plan, which may not stand yet
        typer.echo(holder)
    standing = read_plan(out)
    done = committed_units(out)
    finished = sum(unit.name in done for unit in standing.units)
    typer.echo(f"{finished} of {len(standing.units)} units done, {standing.planned} samples planned")


@app.command()
def verify(out: Out) -> None:
    """Re-hash, re-count and re-read a build; exit code 1 and a line a problem if something is wrong."""
    from dentgen.conditions.labels import LABEL_VALUES
    from dentgen.shards.plan_file import read_plan
    from dentgen.shards.verify import verify_build

    standing = read_plan(out)
    count = 0
    for problem in verify_build(out, standing, LABEL_VALUES):
        typer.echo(str(problem), err=True)
        count += 1
    typer.echo(f"{standing.planned} samples in {len(standing.units)} units: {count} problems")
    if count:
        raise typer.Exit(1)


@app.command()
def repair(
    out: Out,
    source: Annotated[str | None, typer.Option(help="Where the condition shards are now, if they moved.")] = None,
    *,
    ray: RayChoice = True,
    address: Address = None,
) -> None:
    """Make damaged or missing units again, to the bytes that were committed."""
    from dentgen.cli.progress import ConsoleProgress
    from dentgen.pipeline.repair import repair as repair_build

    with ConsoleProgress("repairing", "sample") as progress:
        outcome = repair_build(out, source, use_ray=ray, address=address, progress=progress)
    for problem in outcome.problems:
        typer.echo(f"was: {problem}")
    for problem in outcome.left:
        typer.echo(f"cannot be mended: {problem}", err=True)
    typer.echo(f"{len(outcome.problems)} problems, {len(outcome.units)} units made again, {len(outcome.left)} left")
    if outcome.left:
        raise typer.Exit(1)


@app.command()
def report(out: Out) -> None:
    """Write the report of a finished build again."""
    from dentgen.report.html.page import write_report
    from dentgen.shards.plan_file import read_plan

    typer.echo(write_report(out, read_plan(out)))


@app.command()
def gc(out: Out, *, remove: Annotated[bool, typer.Option("--remove", help="Remove what is listed.")] = False) -> None:
    """List what no ledger names in a finished build; with --remove, remove it."""
    from dentgen.shards.gc import remove_files, stray_files
    from dentgen.shards.plan_file import plan_files, read_plan

    strays = stray_files(out, read_plan(out), plan_files())
    for file in strays:
        typer.echo(f"{file.size:>12} {file.url}")
    if remove:
        remove_files(strays)
    typer.echo(f"{len(strays)} files, {sum(file.size for file in strays)} bytes{' removed' if remove else ''}")


@app.command()
def phantom(
    out: Annotated[str, typer.Argument(help="Folder or URL for the condition shards.")],
    count: Annotated[int, typer.Option(min=1, help="Records; five views, times lightings, make a patient.")] = 100,
    seed: Annotated[int, typer.Option(help="Seed of the set.")] = 0,
    size: Annotated[int, typer.Option(min=16, max=2048, help="Edge, pixels.")] = 256,
    shard_size: Annotated[int, typer.Option(min=1, help="Records per shard.")] = 50,
    lightings: Annotated[int, typer.Option(min=1, help="Pictures of every view: the same maps, other lamps.")] = 1,
    look: Annotated[Literal["photo", "scan"], typer.Option(help="Intra-oral photographs, or scan models.")] = "photo",
    dentition: Annotated[
        Literal["permanent", "deciduous"], typer.Option(help="Adults, or children with their milk teeth.")
    ] = "permanent",
    mirrors: Annotated[
        bool,
        typer.Option(
            "--mirrors", help="Take occlusal photographs in a mirror; other views are those of the seed without it."
        ),
    ] = False,
    address: Annotated[str | None, typer.Option(help="Ray cluster that renders; without it, this machine.")] = None,
) -> None:
    """Render procedural jaws into condition shards with reference pictures."""
    from dentgen.phantom.rays.grid import GridRayMesh
    from dentgen.phantom.rays.mesh import RayMesh
    from dentgen.phantom.shards import PhantomSet, write_phantoms

    if RayMesh.accelerator is GridRayMesh:
        typer.echo("rays are traced without Embree, several times slower: embreex cannot be imported here", err=True)
    phantoms = PhantomSet(count, seed, size, shard_size, lightings, look, dentition, mirrors)
    rendered = write_phantoms(out, phantoms, address=address)
    typer.echo(f"{count} records in {out}, {rendered} shards rendered now")


@app.command()
def sheet(
    source: Annotated[str, typer.Argument(help="Condition records: shards, Parquet or a folder.")],
    out: Annotated[str, typer.Argument(help="Picture to write: .png, .jpg or .webp.")],
    count: Annotated[int, typer.Option(min=1, help="Records, drawn at random but always the same.")] = 24,
    size: Annotated[int, typer.Option(min=16, max=1024, help="Edge of each picture, pixels.")] = 96,
    columns: Annotated[int, typer.Option(min=1, help="Records side by side.")] = 2,
) -> None:
    """Draw records beside all their maps, to look at before a build."""
    from dentgen.report.record_sheet import write_sheet

    drawn = write_sheet(source, out, count=count, size=size, columns=columns)
    typer.echo(f"{len(drawn)} records in {out}")


@app.command()
def relight(
    source: Annotated[str, typer.Argument(help="Condition records with normal maps: shards, Parquet or a folder.")],
    out: Annotated[str, typer.Argument(help="Folder or URL for the condition shards.")],
    lightings: Annotated[int, typer.Option(min=1, max=100, help="Lighting maps per record.")] = 4,
    seed: Annotated[int, typer.Option(help="Seed of the lights.")] = 0,
) -> None:
    """Write every record under other lights, shaded from its normals and depth; exit code 1 if some cannot be."""
    from dentgen.relight.shards import Relighting, write_relit

    shards = write_relit(source, out, Relighting(lightings, seed))
    problems = [line for shard in shards for line in shard.problems]
    for line in problems:
        typer.echo(line, err=True)
    relit = sum(shard.records for shard in shards)
    typer.echo(f"{relit} records relit now, {lightings} lightings each, from {len(shards)} shards, to {out}: "
               f"{len(problems)} problems")  # fmt: skip
    if problems:
        raise typer.Exit(1)


@app.command()
def train(spec: Spec, set_: Overrides = None) -> None:
    """Train a part of a bundle; started again, it goes on."""
    from dentgen.spec.train import read_train_spec
    from dentgen.training.run import run_training

    run_training(read_train_spec(spec, tuple(set_ or ())))


@app.command()
def schemas(folder: Annotated[Path, typer.Argument(help="Where the JSON Schemas go.")] = Path("schemas")) -> None:
    """Export the JSON Schemas of everything that dentgen writes."""
    from dentgen.cli.schemas import export_schemas

    for path in export_schemas(folder):
        typer.echo(str(path))


def main() -> NoReturn:
    """Run the command line; errors that dentgen raises on purpose become a line and an exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("dentgen").setLevel(logging.INFO)
    try:
        app(standalone_mode=True)
    except DentgenError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(exit_code(error))
    sys.exit(0)
