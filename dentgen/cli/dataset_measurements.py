"""``dentgen evaluate gate``, ``gate-usefulness``, ``memorisation``: what a dataset is worth, and what guards it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dentgen.cli.measurement import JsonFile, prepare_folder, print_lines
from dentgen.cli.progress import announce
from dentgen.redaction import shown


def gate(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Labelled pictures: a finished build, or records.")],
    judges: Annotated[str, typer.Option(metavar="FOLDER", help="Judges: 'embedded', or a folder of your own.")] = (
        "embedded"
    ),
    reference: Annotated[
        str, typer.Option(metavar="SOURCE", help="Labelled pictures that set the limits; 'embedded': the judges' own.")
    ] = "embedded",
    lose: Annotated[float, typer.Option(min=0, max=0.5, help="Share of them that the limits may reject.")] = 0.02,
    count: Annotated[int, typer.Option(min=2, help="Pictures to judge, at most.")] = 512,
    planted: Annotated[int, typer.Option(min=1, help="Planted faults of every kind.")] = 20,
    write_reference: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Judges' folder that takes the figures as its reference.")
    ] = None,
    json: JsonFile = None,
) -> None:
    """Try a quality gate: clean pictures that it loses, planted faults that it catches.

    Judges the pictures of a build, or of condition records with photos, and
    as many with planted faults: labels of another mouth, blur, a shift of
    3 px, black, the mean of all pictures, copies.

    Example: dentgen evaluate gate out/demo --json work/gate.json
    """
    announce("evaluate gate")
    from dentgen.evaluation.figures import figure_lines, write_figures
    from dentgen.evaluation.gate import try_gate_on, write_reference_of

    prepare_folder(json)
    if write_reference is not None:
        records = write_reference_of(source, judges, write_reference, count)
        typer.echo(f"{write_reference}: figures of {records} pictures are its reference")
        return
    trial = try_gate_on(source, judges, reference, lose, count=count, each=planted)
    print_lines(figure_lines(trial.figures))
    typer.echo(f"{trial.clean} clean pictures, {trial.planted} planted faults")
    if json is not None:
        write_figures(trial.figures, json)


def gate_usefulness(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="Labelled pictures to learn on: a build, or records.")
    ],
    reference: Annotated[str, typer.Argument(metavar="REFERENCE", help="Labelled pictures to test on.")],
    judges: Annotated[str, typer.Option(metavar="FOLDER", help="Judges: 'embedded', or a folder of your own.")] = (
        "embedded"
    ),
    lose: Annotated[float, typer.Option(min=0, max=0.5, help="Share of the judges' reference that is rejected.")] = 0.3,
    steps: Annotated[int, typer.Option(min=1, help="Training steps of each segmenter.")] = 300,
    seeds: Annotated[int, typer.Option(min=1, help="Segmenters of each kind.")] = 3,
    *,
    store: Annotated[
        bool, typer.Option("--store", help="Keep the figures beside the build SOURCE; its report shows them.")
    ] = False,
    json: JsonFile = None,
) -> None:
    """Learn on what a gate accepts, on what it rejects, and on both.

    Equally many pictures of each kind, and equal training; tested on the
    reference. Then on the best 100, 75, 50 and 25 % of all pictures: the
    curve of kept share against usefulness.

    Example: dentgen evaluate gate-usefulness out/demo conditions/ --store
    """
    announce("evaluate gate-usefulness")
    from dentgen.evaluation.figures import figure_lines, write_figures
    from dentgen.evaluation.gate_usefulness import GateUsefulnessSettings, measure_gate_usefulness
    from dentgen.report.html.page import write_report
    from dentgen.report.html.usefulness import store_usefulness
    from dentgen.shards.index_reader import finished_index
    from dentgen.shards.plan_file import sealed_plan

    prepare_folder(json)
    settings = GateUsefulnessSettings(source, reference, judges, lose, steps=steps, seeds=tuple(range(seeds)))
    if store:
        finished_index(source)
    figures = measure_gate_usefulness(settings)
    print_lines(figure_lines(figures))
    if store:
        named = "" if judges == "embedded" else "--judges JUDGES "  # the report is published; folders are not
        options = f"{named}--lose {lose} --steps {steps} --seeds {seeds}"
        store_usefulness(source, f"dentgen evaluate gate-usefulness OUT REFERENCE {options}", figures)
        typer.echo(write_report(source, sealed_plan(source)))
    if json is not None:
        write_figures(figures, json)


def memorisation(
    out: Annotated[str, typer.Argument(metavar="OUT", help="A finished build.")],
    training: Annotated[
        str, typer.Option(metavar="SOURCE", help="What its model was trained on: records with photos, or a build.")
    ],
    held_out: Annotated[
        str, typer.Option(metavar="SOURCE", help="Pictures of the same kind that it was not trained on.")
    ],
    judges: Annotated[str, typer.Option(metavar="FOLDER", help="Judges: 'embedded', or a folder of your own.")] = (
        "embedded"
    ),
    count: Annotated[
        int | None, typer.Option(min=1, help="Generated pictures to look at, drawn by key; default: all.")
    ] = None,
    sheet: Annotated[Path | None, typer.Option(metavar="PNG", help="Draw the ten nearest pairs side by side.")] = None,
    json: JsonFile = None,
) -> None:
    """Measure whether a build repeats pictures that its model was trained on.

    Looks for the nearest training picture of every generated picture, in
    the space of the judges' features and by perceptual hash, and does the
    same for held-out pictures, which cannot have been memorised.

    Example: dentgen evaluate memorisation out/demo --training phantoms/train --held-out phantoms/test
    """
    announce("evaluate memorisation")
    from dataclasses import asdict

    from dentgen.curation.memorisation import measure_memorisation
    from dentgen.curation.memorisation_sheet import write_pair_sheet
    from dentgen.evaluation.figures import figure_lines, write_figures

    prepare_folder(json)
    prepare_folder(sheet)
    found = measure_memorisation(out, training, held_out, judges, count)
    print_lines(figure_lines(found.figures))
    for pair in found.nearest:
        typer.echo(shown(f"nearest: {pair.generated} {pair.training} {pair.distance:.3f}"))
    for pair in found.copies:
        typer.echo(shown(f"copy: {pair.generated} {pair.training} {pair.bits} bits"))
    if sheet is not None:
        write_pair_sheet(sheet, found.nearest, out, training)
    if json is not None:
        pairs = {"nearest": [*map(asdict, found.nearest)], "copies": [*map(asdict, found.copies)]}
        write_figures(found.figures, json, pairs)
