"""``dentgen evaluate regions``, ``upscaling``, ``relighting``: what a way to make pictures is worth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dentgen.cli.demo import spec_or_demo
from dentgen.cli.measurement import (
    WORK,
    DilatedSteps,
    JsonFile,
    JudgeRecords,
    Overrides,
    SpecFile,
    UnetSteps,
    Work,
    grouped,
    parse_shares,
    prepare_folder,
    print_lines,
)
from dentgen.cli.progress import announce
from dentgen.evaluation.judge_settings import DEFAULT_JUDGES, JudgeSettings


def regions(
    spec: Annotated[Path, typer.Argument(metavar="SPEC", help="Build spec with findings, YAML.")],
    set_: Overrides = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N records.")] = None,
    sheet: Annotated[Path | None, typer.Option(metavar="PNG", help="Draw images without and with findings.")] = None,
    json: JsonFile = None,
) -> None:
    """Measure whether images show the findings that a spec asks for, and only there.

    Makes every sample that has a finding twice with the same noise, with and
    without it. A judge that knows no model counts the pixels that show it:
    where it was asked for, in the same tissue elsewhere, and at the same
    place without asking.

    Example: dentgen evaluate regions jobs/specs/findings.yaml --limit 20 --sheet work/regions.png
    """
    announce("evaluate regions")
    from dentgen.evaluation.figures import write_figures
    from dentgen.evaluation.regions import measure_regions, response_table
    from dentgen.models.native_size import with_size
    from dentgen.spec.yaml_file import read_spec

    prepare_folder(json)
    prepare_folder(sheet)
    responses = measure_regions(with_size(read_spec(spec, set_ or [])), limit, None if sheet is None else str(sheet))
    print_lines(response_table(responses))
    if json is not None:
        write_figures({name: value for each in responses for name, value in each.figures.items()}, json)


def upscaling(
    spec: SpecFile = None,
    set_: Overrides = None,
    strengths: Annotated[str, typer.Option(help="Strengths of image-to-image, separated by commas.")] = "0.1,0.3,0.5",
    other: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME:FOLDER", help="KEY.png of twice the size, made by another tool; repeatable."),
    ] = None,
    work: Work = WORK,
    records: Annotated[int, typer.Option(min=2, help="Phantoms to enlarge.")] = 40,
    judge_records: JudgeRecords = DEFAULT_JUDGES.records,
    unet_steps: UnetSteps = DEFAULT_JUDGES.unet_steps,
    dilated_steps: DilatedSteps = DEFAULT_JUDGES.dilated_steps,
    json: JsonFile = None,
) -> None:
    """Compare ways to double pictures: Lanczos, image-to-image in windows, other tools.

    Renders phantoms at the spec's size and at twice that, enlarges the small
    ones, and scores them against the large ones: closeness, detail,
    agreement with labels, restorations that are seen. Small pictures are
    written to the work folder, for other tools.

    Takes about three hours for the miniature on two cores.

    Example: dentgen evaluate upscaling --strengths 0.3 --records 10
    """
    announce("evaluate upscaling")
    from dentgen.evaluation.figures import write_figures
    from dentgen.evaluation.upscaling import UpscalingSettings, measure_upscaling, upscaling_table
    from dentgen.models.native_size import with_size
    from dentgen.spec.yaml_file import read_spec

    prepare_folder(json)
    others = {name: ":".join(folder) for name, *folder in grouped("--other", other)}
    judges = JudgeSettings(judge_records, unet_steps, dilated_steps)
    build_spec = with_size(read_spec(*spec_or_demo(spec, set_)))
    result = measure_upscaling(
        UpscalingSettings(work, build_spec, parse_shares("--strengths", strengths), records, others, judges)
    )
    print_lines(upscaling_table(result))
    typer.echo(f"pictures: {result.sheet}, small ones for other tools: {result.small}")
    if json is not None:
        write_figures(result.figures, json)


def relighting(
    source: Annotated[
        str,
        typer.Argument(metavar="RECORDS", help="Condition records with segmentation and normals, unseen in training."),
    ],
    spec: SpecFile = None,
    set_: Overrides = None,
    lora: Annotated[str, typer.Option(help="Two-frame LoRA of the bundle.")] = "two-frame",
    scale: Annotated[float, typer.Option(help="Its scale.")] = 1.0,
    mouths: Annotated[int, typer.Option(min=1, help="Mouths, one record each.")] = 64,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of lights and noise, from 0.")] = 3,
    strengths: Annotated[str, typer.Option(help="Strengths of image-to-image, separated by commas.")] = "0.4,0.6,0.8",
    judges: Annotated[str, typer.Option(metavar="FOLDER", help="Judges: 'embedded', or a folder of your own.")] = (
        "embedded"
    ),
    sheet: Annotated[Path | None, typer.Option(metavar="PNG", help="Draw mouths beside what every way made.")] = None,
    json: JsonFile = None,
) -> None:
    """Compare ways to draw a mouth under another light: two frames, shared noise, image-to-image.

    The reference is the model's own picture under a first light. Figures
    are identity within teeth, free of illumination, how well the change of
    light follows the maps, and agreement with the labels.

    Takes about an hour for the miniature on two cores.

    Example: dentgen evaluate relighting conditions/ --set model.bundle=work/miniature --json work/relighting.json
    """
    announce("evaluate relighting")
    from dentgen.evaluation.figures import write_figures
    from dentgen.evaluation.relighting import (
        RelightingSettings,
        measure_relighting,
        relighting_table,
        write_sheet,
    )
    from dentgen.models.native_size import with_size
    from dentgen.spec.yaml_file import read_spec

    prepare_folder(json)
    prepare_folder(sheet)
    build_spec = with_size(read_spec(*spec_or_demo(spec, set_)))
    shares = parse_shares("--strengths", strengths)
    found = measure_relighting(
        RelightingSettings(source, build_spec, lora, scale, mouths, tuple(range(seeds)), shares, judges)
    )
    print_lines(relighting_table(found))
    if sheet is not None:
        write_sheet(found.sheet, str(sheet))
    if json is not None:
        write_figures(found.figures, json, {"mouths": found.mouths, "seeds": seeds})
