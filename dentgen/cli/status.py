"""``dentgen status``: progress of a build and who holds its lease, once or until it is finished."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from dentgen.cli.build_options import Out
from dentgen.errors import StorageError
from dentgen.redaction import shown_name

if TYPE_CHECKING:
    from dentgen.shards.standing import BuildWatch, Standing


def status(
    out: Out,
    *,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show rate, time left and rejections until it is done.")
    ] = False,
    interval: Annotated[float, typer.Option(min=0.1, max=3600, help="Of --watch, seconds between two looks.")] = 2.0,
) -> None:
    """Show build progress, the newest version and the lease holder.

    Needs nothing but access to OUT. --watch draws on a terminal, prints a line per change elsewhere, and ends with exit
    code 0 when the build is finished.

    Example: dentgen status out/demo --watch
    """
    if watch:
        _watch(out, interval)
        return
    from dentgen.shards.lease import describe_lease
    from dentgen.shards.pending import pending_units
    from dentgen.shards.plan_file import read_plan
    from dentgen.shards.seals import newest_sealed

    if holder := describe_lease(out):  # before the plan, which may not exist yet
        typer.echo(shown_name(holder))
    standing = read_plan(out)
    finished = len(standing.units) - len(pending_units(out, standing))
    typer.echo(f"{finished} of {len(standing.units)} units done, {standing.planned} samples planned")
    sealed = newest_sealed(out)
    if sealed is not None:
        typer.echo(f"version {sealed} is sealed")
    if sealed != standing.segment:
        typer.echo(f"version {standing.segment} is being made")


def _watch(out: str, interval: float) -> None:
    """Look until the build is finished."""
    from dentgen.shards.standing import BuildWatch

    watch = BuildWatch(out)
    if sys.stdout.isatty():
        _draw(out, watch, interval)
    else:
        _print(watch, interval)


def _draw(out: str, watch: BuildWatch, interval: float) -> None:
    from rich.live import Live
    from rich.text import Text

    from dentgen.cli.status_view import panel

    standing: Standing | None = None
    with Live(Text("planning ..."), auto_refresh=False) as live:
        while standing is None or not standing.finished:
            found, note = _look(watch, required=standing is None)
            standing = found or standing
            if standing is not None:
                live.update(panel(out, standing, note), refresh=True)
            if standing is None or not standing.finished:
                time.sleep(interval)


def _print(watch: BuildWatch, interval: float) -> None:
    """A line whenever something changed that counts."""
    from dentgen.cli.status_view import line

    standing: Standing | None = None
    last: object = None
    while standing is None or not standing.finished:
        found, note = _look(watch, required=standing is None)
        standing = found or standing
        state = (note, standing and (standing.units_done, standing.finished, standing.lease is None, standing.unread))
        if state != last:
            typer.echo(shown_name(note) if note else "planning ..." if standing is None else line(standing))
        last = state
        if standing is None or not standing.finished:
            time.sleep(interval)


def _look(watch: BuildWatch, *, required: bool) -> tuple[Standing | None, str]:
    """How the build stands, or why that cannot be read now; the first look must succeed.

    Raises:
        StorageError: If it did not.
    """
    try:
        return watch.look(), ""
    except StorageError as error:
        if required:
            raise
        return None, str(error)
