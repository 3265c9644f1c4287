"""``dentgen evaluate frames``: flicker and ghosting of series."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dentgen.cli.demo import spec_or_demo
from dentgen.cli.measurement import WORK, JsonFile, Overrides, SpecFile, Work, prepare_folder, print_lines
from dentgen.cli.progress import announce


def frames(
    source: Annotated[
        str, typer.Argument(metavar="RECORDS", help="Series of condition records with photos, such as phantoms'.")
    ],
    spec: SpecFile = None,
    set_: Overrides = None,
    work: Work = WORK,
    seeds: Annotated[int, typer.Option(min=1, help="Variants of every frame, each with noise of its own.")] = 3,
    judges: Annotated[str, typer.Option(metavar="FOLDER", help="Judges: 'embedded', or a folder of your own.")] = (
        "embedded"
    ),
    sheet: Annotated[Path | None, typer.Option(metavar="PNG", help="Draw consecutive frames and differences.")] = None,
    json: JsonFile = None,
) -> None:
    """Measure flicker and ghosting of a series, by whose noise its frames begin with.

    Builds every frame with noise of its own, with its series' noise, and with
    its series' noise moved along, undoes the motion that the records know,
    and compares consecutive frames. Agreement with labels and light is
    measured beside it.

    Takes about half an hour for three series of 32 frames on two cores.

    Example: dentgen evaluate frames orbit/ --sheet work/frames.png --json work/frames.json
    """
    announce("evaluate frames")
    from dentgen.evaluation.figures import write_figures
    from dentgen.evaluation.frames import FramesSettings, frames_table, measure_frames
    from dentgen.evaluation.relighting import write_sheet
    from dentgen.models.native_size import with_size
    from dentgen.spec.yaml_file import read_spec

    prepare_folder(json)
    prepare_folder(sheet)
    build_spec = with_size(read_spec(*spec_or_demo(spec, set_)))
    found = measure_frames(FramesSettings(work, source, build_spec, seeds, judges))
    print_lines(frames_table(found))
    if sheet is not None:
        write_sheet(found.sheet, str(sheet))
    if json is not None:
        write_figures(found.figures, json, {"series": found.series, "seeds": seeds})
