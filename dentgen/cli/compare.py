"""``dentgen compare``: tables that compare ways to generate the same images."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import Annotated

import typer

from dentgen.cli import decision_tables
from dentgen.cli.demo import spec_or_demo
from dentgen.cli.measurement import JsonFile, JudgeRecords, Overrides, SpecFile, UnetSteps, prepare_folder
from dentgen.cli.progress import announce
from dentgen.evaluation.judge_settings import DEFAULT_JUDGES, JudgeSettings

app = typer.Typer(no_args_is_help=True, help="Compare ways to generate, as tables: T1 to T6.")


@app.command("T1")
def t1(
    spec: SpecFile = None,
    set_: Overrides = None,
    work: Annotated[str, typer.Option(metavar="FOLDER", help="Caches phantoms, judges and builds.")] = "work/evaluate",
    records: Annotated[int, typer.Option(min=2, help="Unseen phantoms, one image each.")] = 64,
    judge_records: JudgeRecords = DEFAULT_JUDGES.records,
    unet_steps: UnetSteps = DEFAULT_JUDGES.unet_steps,
    before: Annotated[
        str | None,
        typer.Option(metavar="BUNDLE", help="Bundle whose tiny decoder was not distilled: a third decoder."),
    ] = None,
    html: Annotated[Path, typer.Option(metavar="FILE", help="Page with the table and its images.")] = Path(
        "work/evaluate/T1.html"
    ),
    json: JsonFile = None,
) -> None:
    """Compare solvers and step counts with decoders: latency of one image, and quality.

    Runs seven samplers from DDIM 50 to UniPC 4 with every decoder of the
    bundle (which needs an LCM-LoRA) on unseen phantoms, from the same noise.

    Takes about 20 minutes for the miniature on two cores.

    Example: dentgen compare T1 --set model.bundle=work/miniature --records 48
    """
    announce("compare T1")
    from dentgen.evaluation.solvers import compare_solvers
    from dentgen.evaluation.solvers_page import table_lines, write_study_page
    from dentgen.models.native_size import with_size
    from dentgen.spec.yaml_file import read_spec

    prepare_folder(json)
    prepare_folder(html)
    build_spec = with_size(read_spec(*spec_or_demo(spec, set_)))
    judges = JudgeSettings(judge_records, unet_steps)
    study = compare_solvers(build_spec, work, records=records, before=before, judges=judges)
    typer.echo("\n".join(table_lines(study)))
    write_study_page(study, f"T1: solvers and decoders of {build_spec.model.bundle}", html)
    typer.echo(f"images: {html}")
    if json is not None:
        json.write_text(json_format.dumps(study.figures(), indent=1) + "\n")


for number, command in (
    ("T2", decision_tables.t2),
    ("T3", decision_tables.t3),
    ("T4", decision_tables.t4),
    ("T5", decision_tables.t5),
    ("T6", decision_tables.t6),
):
    app.command(number)(command)
