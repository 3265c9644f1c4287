"""The ``dentgen`` command line: one command, one call.

Exit codes: 0 done; 1 problems found (a line each on standard error) or a failure on the way; 2 cannot be done as asked;
130 interrupted (143 by SIGTERM). Heavy imports wait inside the commands: ``dentgen status`` need not wait for torch.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer

from dentgen.cli import benchmark as benchmark_commands
from dentgen.cli import certify as certify_command
from dentgen.cli import cluster as cluster_commands
from dentgen.cli import compare as compare_commands
from dentgen.cli import conditions as condition_commands
from dentgen.cli import diff as diff_command
from dentgen.cli import evaluate as evaluate_commands
from dentgen.cli import export as export_command
from dentgen.cli import generate as generate_command
from dentgen.cli import maintenance as maintenance_commands
from dentgen.cli import models as model_commands
from dentgen.cli import pairs as pairs_command
from dentgen.cli import photos as photos_command
from dentgen.cli import plan as plan_command
from dentgen.cli import publish as publish_command
from dentgen.cli import review as review_commands
from dentgen.cli import scans as scans_command
from dentgen.cli import select as select_command
from dentgen.cli import status as status_command
from dentgen.cli import studio as studio_command
from dentgen.cli import training as training_command
from dentgen.cli import versions as versions_command
from dentgen.cli import watermark as watermark_command
from dentgen.cli.interruption import Interruption
from dentgen.cli.unexpected import report_error
from dentgen.logs import LogFormat, json_output, start_logging

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
app.add_typer(cluster_commands.app, name="cluster", rich_help_panel=DATASETS)
app.add_typer(review_commands.app, name="review", rich_help_panel=DATASETS)
app.add_typer(model_commands.app, name="models", rich_help_panel=MODELS)
app.add_typer(evaluate_commands.app, name="evaluate", rich_help_panel=MEASUREMENTS)
app.add_typer(compare_commands.app, name="compare", rich_help_panel=MEASUREMENTS)
app.add_typer(benchmark_commands.app, name="benchmark", rich_help_panel=MEASUREMENTS)


def _print_version(*, wanted: bool) -> None:
    if wanted:
        typer.echo(f"dentgen {version('dentgen')}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    *,
    log_format: Annotated[
        LogFormat,
        typer.Option(envvar="DENTGEN_LOG_FORMAT", help="Standard error as lines of text, or a JSON object a line."),
    ] = "text",
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=lambda wanted: _print_version(wanted=wanted), is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Synthetic dental images with labels that are right by construction."""
    if log_format == "json" and isinstance(context.obj, ExitStack):
        context.obj.enter_context(json_output())


command: Callable[..., None]
for command in (
    condition_commands.phantom, scans_command.scans, photos_command.photos, condition_commands.relight,
    condition_commands.sheet, pairs_command.pairs,
):  # fmt: skip
    app.command(rich_help_panel=CONDITIONS)(command)
for command in (
    generate_command.generate, plan_command.plan, status_command.status, maintenance_commands.verify,
    maintenance_commands.repair, maintenance_commands.report, maintenance_commands.gc, certify_command.certify,
    versions_command.versions,
    diff_command.diff,
    select_command.select, export_command.export, watermark_command.watermark, publish_command.publish,
    studio_command.studio,
):  # fmt: skip
    app.command(rich_help_panel=DATASETS)(command)
app.command(rich_help_panel=MODELS)(training_command.train)


@app.command(hidden=True)
def schemas(folder: Annotated[Path, typer.Argument(help="Where the JSON Schemas go.")] = Path("schemas")) -> None:
    """Export the JSON Schemas of everything that dentgen reads and writes."""
    from dentgen.cli.schemas import export_schemas

    for path in export_schemas(folder):
        typer.echo(str(path))


def main() -> NoReturn:
    """Run the command line; every error becomes one line and an exit code."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # it warns of image processors that nobody here uses
    start_logging("text")
    interruption = Interruption()
    with interruption.handling(), ExitStack() as output:
        code = _run(interruption, output)
    sys.exit(code)


def _run(interruption: Interruption, output: ExitStack) -> int:
    """Run the command; returns its exit code.

    Args:
        interruption: Knows of signals.
        output: Closed once the last line is said; the command may let it change what standard error shows.
    """
    try:
        app(obj=output)
    except SystemExit as ended:  # how typer ends every command
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except KeyboardInterrupt:  # of a signal that came before typer, which handles later ones, was ready
        code = 1
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
