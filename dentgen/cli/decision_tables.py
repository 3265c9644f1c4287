"""``dentgen compare T2`` to ``T6``: decision tables, each as text, page and JSON."""

from __future__ import annotations

import json as json_format
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from dentgen.cli.demo import spec_or_demo
from dentgen.cli.measurement import JsonFile, Overrides, SpecFile, prepare_folder, print_lines
from dentgen.cli.progress import announce
from dentgen.errors import SpecError
from dentgen.redaction import redacted

if TYPE_CHECKING:  # heavy
    from dentgen.evaluation.tables.candidates import DecisionTable
    from dentgen.spec.build import BuildSpec

#: The judges that ship with dentgen; the spec's own name of them would import numpy before any command.
EMBEDDED: Final = "embedded"
Work = Annotated[str, typer.Option(metavar="FOLDER", help="Keeps phantoms, judges, trainings and builds.")]
Records = Annotated[int, typer.Option(min=2, help="Unseen phantoms, two images each.")]
Seeds = Annotated[int, typer.Option(min=1, help="Seeds of noise and training; figures are means over them.")]
Steps = Annotated[
    int, typer.Option(min=0, help="Training steps of every part; 0 leaves out the rows that need training.")
]
TrainingRecords = Annotated[
    str | None,
    typer.Option("--training", metavar="SOURCE", help="Condition records to train on.", show_default="200 phantoms"),
]
Only = Annotated[list[str] | None, typer.Option(metavar="TEXT", help="Only rows whose names contain this; repeatable.")]
JudgesFolder = Annotated[str, typer.Option(metavar="FOLDER", help="Judges: 'embedded', or a folder of your own.")]
Html = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Page with figures and images.", show_default="TABLE.html in work")
]

_WORK: Final = "work/evaluate"
_RECORDS: Final = 48
_SEEDS: Final = 3
_STEPS: Final = 200


@dataclass(frozen=True, slots=True)
class TableOptions:
    """What the user asked for."""

    spec: Path | None
    overrides: Sequence[str]
    only: Sequence[str]
    work: str
    records: int
    seeds: int
    judges: str
    html: Path | None
    json: Path | None
    steps: int | None = None
    training: str | None = None
    further: tuple[tuple[str, str], ...] = ()

    def command(self, number: str) -> str:
        """The command line that measures the same figures again, without secrets of its URLs.

        Where it keeps and writes them does not count.
        """
        values: list[tuple[str, object]] = [("--spec", self.spec), *(("--set", each) for each in self.overrides)]
        values += [("--records", self.records), ("--seeds", self.seeds), ("--steps", self.steps)]
        values += [("--training", self.training), *self.further]
        values += [("--only", each) for each in self.only]
        values += [("--judges", self.judges)] if self.judges != EMBEDDED else []
        words = [word for option, value in values if value is not None for word in (option, redacted(str(value)))]
        return shlex.join(["dentgen", "compare", number, *words])


def t2(
    spec: SpecFile = None,
    set_: Overrides = None,
    work: Work = _WORK,
    records: Records = _RECORDS,
    seeds: Seeds = _SEEDS,
    steps: Steps = _STEPS,
    training: TrainingRecords = None,
    only: Only = None,
    judges: JudgesFolder = EMBEDDED,
    html: Html = None,
    json: JsonFile = None,
) -> None:
    """Compare no control, ControlNet, Control-LoRA and a ctrLoRA adapter.

    Trains each on the same records for the same steps, and generates from
    unseen phantoms with the same noise.

    Takes about an hour and a half for the miniature on two cores, most of it
    training. An interrupted run continues.

    Example: dentgen compare T2 --steps 200 --json work/T2.json
    """
    from dentgen.evaluation.tables.definitions import control_methods

    options = TableOptions(
        spec, tuple(set_ or ()), tuple(only or ()), work, records, seeds, judges, html, json, steps, training
    )
    _compare("T2", control_methods, options)


def t3(
    spec: SpecFile = None,
    set_: Overrides = None,
    work: Work = _WORK,
    records: Records = _RECORDS,
    seeds: Seeds = _SEEDS,
    only: Only = None,
    judges: JudgesFolder = EMBEDDED,
    html: Html = None,
    json: JsonFile = None,
) -> None:
    """Compare guidance scales from 1 to 9 for the adapters of single conditions.

    Runs the bundle's adapters for segmentation, lighting, normals and
    curvature, as far as it has them; nothing is trained.

    Takes about an hour for the miniature on two cores.

    Example: dentgen compare T3 --set sampling.scheduler=ddim --set sampling.steps=20
    """
    from dentgen.evaluation.tables.definitions import guidance_of_single_conditions

    options = TableOptions(spec, tuple(set_ or ()), tuple(only or ()), work, records, seeds, judges, html, json)
    _compare("T3", guidance_of_single_conditions, options)


def t4(
    spec: SpecFile = None,
    set_: Overrides = None,
    adapter: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=BUNDLE:ADAPTER",
            help="Another adapter for blended maps, as a row, {seed} in it as for T6; repeatable.",
        ),
    ] = None,
    work: Work = _WORK,
    records: Records = _RECORDS,
    seeds: Seeds = _SEEDS,
    steps: Steps = _STEPS,
    training: TrainingRecords = None,
    only: Only = None,
    judges: JudgesFolder = EMBEDDED,
    html: Html = None,
    json: JsonFile = None,
) -> None:
    """Compare ways of combining two conditions: sum, blend, weighted loss, by class.

    Runs the bundle's own adapters, adapters that are trained here alike, and
    others that you name.

    Takes about an hour and a half for the miniature on two cores, most of it
    training. An interrupted run continues.

    Example: dentgen compare T4 --adapter reward=work/miniature:rewarded
    """
    from dentgen.evaluation.tables.definitions import combined_conditions
    from dentgen.evaluation.tables.options import parse_adapters

    further = tuple(("--adapter", each) for each in adapter or ())
    options = TableOptions(
        spec, tuple(set_ or ()), tuple(only or ()), work, records, seeds, judges, html, json, steps, training, further
    )
    others = parse_adapters(adapter or ())
    _compare("T4", lambda base: combined_conditions(base, others), options)


def t5(
    spec: SpecFile = None,
    set_: Overrides = None,
    work: Work = _WORK,
    records: Records = _RECORDS,
    seeds: Seeds = _SEEDS,
    steps: Steps = _STEPS,
    training: TrainingRecords = None,
    only: Only = None,
    judges: JudgesFolder = EMBEDDED,
    html: Html = None,
    json: JsonFile = None,
) -> None:
    """Compare tooth weights 1, 2, 5 and 8 in the loss of an adapter.

    Trains an adapter for each on the same records for the same steps.

    Takes about an hour and a half for the miniature on two cores, most of it
    training. An interrupted run continues.

    Example: dentgen compare T5 --steps 400 --training work/phantoms
    """
    from dentgen.evaluation.tables.definitions import tooth_weights

    options = TableOptions(
        spec, tuple(set_ or ()), tuple(only or ()), work, records, seeds, judges, html, json, steps, training
    )
    _compare("T5", lambda _: tooth_weights(), options)


def t6(
    spec: SpecFile = None,
    set_: Overrides = None,
    student: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=LORA:SCHEDULER:STEPS[:TIMESTEPS]",
            help="A distilled student, as a row, its timesteps separated by commas; {seed} in LORA stands for the "
            "seed's number; repeatable.",
        ),
    ] = None,
    students: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Further students, YAML: a list of A.B=VALUE for each name.")
    ] = None,
    work: Work = _WORK,
    records: Records = _RECORDS,
    seeds: Seeds = _SEEDS,
    only: Only = None,
    judges: JudgesFolder = EMBEDDED,
    html: Html = None,
    json: JsonFile = None,
) -> None:
    """Compare DDIM 50, UniPC 4, LCM 4 and students of a few steps.

    Students are LoRAs of the bundle with the sampler that they were distilled
    for; a file names those that need more, such as a bundle of their own.

    Takes about an hour for the miniature on two cores.

    Example: dentgen compare T6 --student "LCM 2=lcm:lcm:2:999,499"
    """
    from dentgen.evaluation.tables.definitions import samplers
    from dentgen.evaluation.tables.options import parse_students, read_students

    named = [*(("--student", each) for each in student or ()), *([("--students", str(students))] if students else [])]
    options = TableOptions(
        spec, tuple(set_ or ()), tuple(only or ()), work, records, seeds, judges, html, json, further=tuple(named)
    )  # fmt: skip
    rows = (*parse_students(student or ()), *(read_students(students) if students else ()))
    _compare("T6", lambda base: samplers(base, rows), options)


def _compare(number: str, table_of: Callable[[BuildSpec], DecisionTable], options: TableOptions) -> None:
    announce(f"compare {number}")
    from dentgen.evaluation.tables.document import table_document, table_lines
    from dentgen.evaluation.tables.page import write_table_page
    from dentgen.evaluation.tables.study import TableSettings, run_table, table_spec

    page = options.html or _page_in(options.work, number)
    prepare_folder(options.json)
    prepare_folder(page)
    file, overrides = spec_or_demo(options.spec, options.overrides)
    settings = TableSettings(
        options.work, file, overrides, options.records, options.seeds, options.steps or _STEPS, options.training,
        options.judges,
    )  # fmt: skip
    table = table_of(table_spec(settings)).only(options.only)
    study = run_table(table.untrained if options.steps == 0 else table, settings)
    command = options.command(number)
    print_lines(table_lines(study))
    write_table_page(study, command, page)
    typer.echo(f"images: {page}")
    if options.json is not None:
        options.json.write_text(json_format.dumps(table_document(study, command), indent=1) + "\n")


def _page_in(work: str, number: str) -> Path:
    """Place of a table's page in the work folder.

    Raises:
        SpecError: If that is a URL, because pages are local files.
    """
    from dentgen import storage

    if storage.is_remote(work):
        raise SpecError(
            key="--html",
            found=f"none, and --work {storage.without_secrets(work)}",
            expected="a local file for the page",
        )
    return Path(storage.expanded(work)) / f"{number}.html"
