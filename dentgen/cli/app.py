"""The ``dentgen`` command line: one command, one call.

Exit codes: 0 done; 1 problems found (a line each on standard error) or a failure on the way; 2 cannot be done as asked;
130 interrupted (143 by
SIGTERM). Heavy imports wait inside the commands: ``dentgen status`` need not wait for torch.
"""

from __future__ import annotations

import logging
import os
import sys
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, NoReturn

import typer

from dentgen.cli import benchmark as benchmark_commands
from dentgen.cli import compare as compare_commands
from dentgen.cli import diff as diff_command
from dentgen.cli import evaluate as evaluate_commands
from dentgen.cli import export as export_command
from dentgen.cli import models as model_commands
from dentgen.cli import photos as photos_command
from dentgen.cli import publish as publish_command
from dentgen.cli import scans as scans_command
from dentgen.cli import watermark as watermark_command
from dentgen.cli.demo import spec_or_demo
from dentgen.cli.interruption import Interruption
from dentgen.cli.progress import ConsoleProgress, announce
from dentgen.cli.unexpected import report_error
from dentgen.errors import BuildError, OutOfMemoryError
from dentgen.redaction import protect_logs, shown, shown_name

if TYPE_CHECKING:
    from dentgen.pipeline.run import BuildOutcome
    from dentgen.shards.plan import Plan
    from dentgen.spec.build import BuildSpec

CONDITIONS: Final = "Conditions"
DATASETS: Final = "Datasets"
MODELS: Final = "Models"
MEASUREMENTS: Final = "Measurements"

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Synthetic dental images with labels that are right by construction.",
)
app.add_typer(model_commands.app, name="models", rich_help_panel=MODELS)
app.add_typer(evaluate_commands.app, name="evaluate", rich_help_panel=MEASUREMENTS)
app.add_typer(compare_commands.app, name="compare", rich_help_panel=MEASUREMENTS)
app.add_typer(benchmark_commands.app, name="benchmark", rich_help_panel=MEASUREMENTS)

Spec = Annotated[Path, typer.Argument(help="Build spec, YAML; 'demo' is the one that is installed with dentgen.")]
Out = Annotated[str, typer.Argument(help="Folder or URL of a build.")]
Overrides = Annotated[list[str] | None, typer.Option("--set", metavar="A.B=VALUE", help="Replace one key of the spec.")]
Address = Annotated[str | None, typer.Option(help="Ray cluster to join; default: RAY_ADDRESS, or a new local one.")]
RayChoice = Annotated[bool, typer.Option(help="Generate in Ray actors, or in this process.")]


def _print_version(*, wanted: bool) -> None:
    if wanted:
        typer.echo(f"dentgen {version('dentgen')}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=lambda wanted: _print_version(wanted=wanted), is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Synthetic dental images with labels that are right by construction."""


@app.command(rich_help_panel=CONDITIONS)
def phantom(
    out: Annotated[str, typer.Argument(help="Folder or URL for the condition shards.")],
    count: Annotated[int, typer.Option(min=1, help="Records; five views, times lightings, make a patient.")] = 100,
    seed: Annotated[int, typer.Option(help="Seed of the set.")] = 0,
    size: Annotated[int, typer.Option(min=16, max=2048, help="Edge of the maps, pixels.")] = 256,
    shard_size: Annotated[int, typer.Option(min=1, help="Records per shard.")] = 50,
    lightings: Annotated[int, typer.Option(min=1, help="Lightings per view; the other maps stay the same.")] = 1,
    look: Annotated[Literal["photo", "scan"], typer.Option(help="Intra-oral photographs, or scan models.")] = "photo",
    dentition: Annotated[
        Literal["permanent", "deciduous"], typer.Option(help="Adults, or children with their deciduous teeth.")
    ] = "permanent",
    mirrors: Annotated[bool, typer.Option("--mirrors", help="Photograph occlusal views in a mirror.")] = False,
    mix: Annotated[
        str | None,
        typer.Option(
            metavar="varied|FILE",
            help="Close-ups, faces, instruments and disease as a YAML file weighs them, or the built-in mix.",
        ),
    ] = None,
    address: Annotated[str | None, typer.Option(help="Ray cluster to render on; default: this machine.")] = None,
) -> None:
    """Render procedural jaws into condition shards with reference pictures.

    Example: dentgen phantom conditions/ --count 1000 --seed 1 --size 128
    """
    announce(f"phantom: {count} records for {out}")
    from dentgen.phantom.rays.grid import GridRayMesh
    from dentgen.phantom.rays.mesh import RayMesh
    from dentgen.phantom.shards import PhantomSet, write_phantoms
    from dentgen.phantom.surroundings.mix import read_mix

    if RayMesh.accelerator is GridRayMesh:
        typer.echo("embreex cannot be imported: rays are traced without Embree, several times slower", err=True)
    phantoms = PhantomSet(count, seed, size, shard_size, lightings, look, dentition, mirrors, read_mix(mix))
    rendered = write_phantoms(out, phantoms, address=address)
    typer.echo(f"{count} records in {out}, {rendered} shards rendered now")


app.command(rich_help_panel=CONDITIONS)(scans_command.scans)
app.command(rich_help_panel=CONDITIONS)(photos_command.photos)


@app.command(rich_help_panel=CONDITIONS)
def relight(
    source: Annotated[str, typer.Argument(help="Condition records with normal maps: shards, Parquet or a folder.")],
    out: Annotated[str, typer.Argument(help="Folder or URL for the condition shards.")],
    lightings: Annotated[int, typer.Option(min=1, max=100, help="Lighting maps per record.")] = 4,
    seed: Annotated[int, typer.Option(help="Seed of the lights.")] = 0,
) -> None:
    """Write every record under other lights, shaded from its normals and depth.

    Exits 1 if some records cannot be relit.

    Example: dentgen relight conditions/ relit/ --lightings 3
    """
    announce(f"relight: {source} into {out}")
    from dentgen.relight.shards import Relighting, write_relit

    shards = write_relit(source, out, Relighting(lightings, seed))
    problems = [line for shard in shards for line in shard.problems]
    for line in problems:
        typer.echo(shown_name(line), err=True)
    relit = sum(shard.records for shard in shards)
    typer.echo(f"{relit} records relit, {lightings} lightings each, from {len(shards)} shards, to {out}: "
               f"{len(problems)} problems")  # fmt: skip
    if problems:
        raise typer.Exit(1)


@app.command(rich_help_panel=CONDITIONS)
def sheet(
    source: Annotated[str, typer.Argument(help="Condition records: shards, Parquet or a folder.")],
    out: Annotated[str, typer.Argument(help="Image to write: .png, .jpg or .webp.")],
    count: Annotated[int, typer.Option(min=1, help="Records, drawn at random but always the same.")] = 24,
    size: Annotated[int, typer.Option(min=16, max=1024, help="Edge of each picture, pixels.")] = 96,
    columns: Annotated[int, typer.Option(min=1, help="Records side by side.")] = 2,
) -> None:
    """Draw records beside all their maps, to look at before a build.

    Example: dentgen sheet conditions/ sheet.png
    """
    announce(f"sheet: {source}")
    from dentgen.report.record_sheet import write_sheet

    drawn = write_sheet(source, out, count=count, size=size, columns=columns)
    typer.echo(f"{len(drawn)} records in {out}")


@app.command(rich_help_panel=DATASETS)
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
) -> None:
    """Build a dataset, or resume an interrupted build.

    Exits 1 if a unit failed, or if more samples were rejected than quality.max_rejected allows.

    Example: dentgen generate jobs/specs/demo.yaml --set sampling.steps=8 --limit 4
    """
    announce(f"generate: {spec}")
    from dentgen.pipeline.run import build
    from dentgen.spec.yaml_file import preview_spec

    build_spec = _read_build(spec, set_)
    if limit is not None:
        chosen = any(override.startswith("output.path=") for override in set_ or ())
        build_spec = preview_spec(build_spec, limit, beside=not chosen)
    with ConsoleProgress("generating", "sample") as progress:
        outcome = build(build_spec, use_ray=ray, address=address, progress=progress)
    for reason in outcome.reasons:
        typer.echo(f"rejected: {reason}", err=True)
    _require_few_rejected(outcome, build_spec.quality.max_rejected)
    index = outcome.index
    typer.echo(f"{index.written} samples written, {index.rejected} rejected, of {index.planned} planned")
    typer.echo(f"dataset: {shown_name(build_spec.output.path)}")
    typer.echo(f"look at: {shown_name(outcome.report)}")


def _read_build(spec: Path, overrides: list[str] | None) -> BuildSpec:
    """The spec of a command that reads its source for a build."""
    from dentgen.spec.yaml_file import read_spec, require_places

    file, changes = spec_or_demo(None if str(spec) == "demo" and not spec.exists() else spec, overrides)
    build_spec = read_spec(file, changes)
    require_places(build_spec, file)
    return build_spec


def _require_few_rejected(outcome: BuildOutcome, limit: float) -> None:
    index = outcome.index
    if index.rejected > limit * index.planned:
        raise BuildError(
            f"{index.written} samples were written, but too many were rejected; {outcome.report} says why",
            key="quality.max_rejected",
            found=f"{index.rejected / index.planned:.1%} rejected ({index.rejected} of {index.planned})",
            expected=f"at most {limit:.1%}",
        )


@app.command(rich_help_panel=DATASETS)
def plan(
    spec: Spec,
    set_: Overrides = None,
    *,
    measure: Annotated[bool, typer.Option(help="Generate a few samples to measure size and time.")] = True,
    probe: Annotated[bool, typer.Option("--probe", help="Measure how many engine.slots pay on this machine.")] = False,
    most_slots: Annotated[int, typer.Option(min=1, help="Largest number that --probe tries.")] = 64,
) -> None:
    """Show what a build would do, and how much space and time it would take; writes nothing.

    Example: dentgen plan jobs/specs/demo.yaml --probe
    """
    announce(f"plan: {spec}")
    from dentgen.pipeline.estimate import estimate
    from dentgen.pipeline.plan import make_plan

    build_spec = _read_build(spec, set_)
    with ConsoleProgress("indexing", "shard") as progress:
        made = make_plan(build_spec, progress)
    _print_plan(made)
    if probe:
        _probe_slots(made, most_slots)
    elif measure:
        expected = estimate(made, build_spec.source.path)
        unknown = "size and time: unknown, no sample of the first readable unit could be generated"
        typer.echo(expected.describe(made.planned, build_spec.pipeline.fewest_actors) if expected else unknown)


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


@app.command(rich_help_panel=DATASETS)
def status(out: Out) -> None:
    """Show build progress and the lease holder.

    Example: dentgen status out/demo
    """
    from dentgen.shards.lease import describe_lease
    from dentgen.shards.ledger import committed_units
    from dentgen.shards.plan_file import read_plan

    if holder := describe_lease(out):  # before the plan, which may not exist yet
        typer.echo(shown_name(holder))
    standing = read_plan(out)
    done = committed_units(out)
    finished = sum(unit.name in done for unit in standing.units)
    typer.echo(f"{finished} of {len(standing.units)} units done, {standing.planned} samples planned")


@app.command(rich_help_panel=DATASETS)
def verify(out: Out) -> None:
    """Re-hash, re-count and re-read every sample of a build, and compare all records of it.

    Exits 1 and prints one line per problem.

    Example: dentgen verify out/demo
    """
    announce(f"verify: {out}")
    from dentgen.pipeline.find_plan import find_plan
    from dentgen.pipeline.verify import verify as problems_of

    standing = find_plan(out).plan
    count = 0
    with ConsoleProgress("verifying", "unit") as progress:
        for problem in problems_of(out, progress):
            typer.echo(shown(str(problem)), err=True)
            count += 1
    typer.echo(f"{standing.planned} samples in {len(standing.units)} units: {count} problems")
    if count:
        raise typer.Exit(1)


@app.command(rich_help_panel=DATASETS)
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

    with ConsoleProgress("repairing", "sample") as progress:
        outcome = repair_build(out, source, bundle, use_ray=ray, address=address, progress=progress)
    for problem in outcome.problems:
        typer.echo(f"found: {shown(str(problem))}")
    for problem in outcome.left:
        typer.echo(f"not repaired: {shown(str(problem))}", err=True)
    typer.echo(f"{len(outcome.problems)} problems, {len(outcome.units)} units regenerated, {len(outcome.left)} left")
    if outcome.left:
        raise typer.Exit(1)


@app.command(rich_help_panel=DATASETS)
def report(out: Out) -> None:
    """Write the report of a finished build again.

    Example: dentgen report out/demo
    """
    announce(f"report: {out}")
    from dentgen.report.html.page import write_report
    from dentgen.shards.plan_file import read_plan

    typer.echo(write_report(out, read_plan(out)))


@app.command(rich_help_panel=DATASETS)
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


app.command(rich_help_panel=DATASETS)(diff_command.diff)
app.command(rich_help_panel=DATASETS)(export_command.export)
app.command(rich_help_panel=DATASETS)(watermark_command.watermark)
app.command(rich_help_panel=DATASETS)(publish_command.publish)


@app.command(rich_help_panel=MODELS)
def train(
    spec: Annotated[Path, typer.Argument(help="Training spec, YAML.")],
    set_: Overrides = None,
    *,
    export_only: Annotated[
        bool, typer.Option("--export-only", help="Write the newest checkpoint's weights to the bundle and stop.")
    ] = False,
) -> None:
    """Train one component of a bundle; resumes from its checkpoint.

    Example: dentgen train jobs/specs/train-adapter.yaml --set steps=1000
    """
    announce(f"train: {spec}")
    from dentgen.spec.train import read_train_spec
    from dentgen.training.run import run_training

    run_training(read_train_spec(spec, tuple(set_ or ())), export_only=export_only)


@app.command(hidden=True)
def schemas(folder: Annotated[Path, typer.Argument(help="Where the JSON Schemas go.")] = Path("schemas")) -> None:
    """Export the JSON Schemas of everything that dentgen reads and writes."""
    from dentgen.cli.schemas import export_schemas

    for path in export_schemas(folder):
        typer.echo(str(path))


def main() -> NoReturn:
    """Run the command line; every error becomes one line and an exit code."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # it warns of image processors that nobody here uses
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("dentgen").setLevel(logging.INFO)
    protect_logs()
    interruption = Interruption()
    with interruption.handling():
        code = _run(interruption)
    sys.exit(code)


def _run(interruption: Interruption) -> int:
    """Run the command; returns its exit code."""
    try:
        app()
    except SystemExit as ended:  # how typer ends every command
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except Exception as error:  # noqa: BLE001 - the last place that can say it in one line
        if interruption.received is None:
            return report_error(error)
        code = 1  # a consequence of the interruption
    else:
        code = 0
    if code and interruption.received is not None:
        interruption.say()
        return interruption.exit_code
    return code
