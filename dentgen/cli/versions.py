"""``dentgen versions``: the versions of a dataset that grows."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer

from dentgen.redaction import shown_name

if TYPE_CHECKING:
    from dentgen.documents.index import SealRecord

_COLUMNS: Final = ("version", "segment", "samples", "rejected", "shards", "bytes", "sealed", "tick")


def versions(out: Annotated[str, typer.Argument(help="Folder or URL of a build.")]) -> None:
    """List the versions of a build: what each holds, when it was sealed, and by which tick of a schedule.

    Example: dentgen versions out/demo
    """
    from dentgen.shards.seals import list_versions

    rows = [_COLUMNS, *(_row(seal) for seal in list_versions(out))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    for row in rows:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _row(seal: SealRecord) -> tuple[str, ...]:
    counts = (seal.version, seal.segment, seal.written, seal.rejected, seal.shards, seal.bytes)
    when = datetime.fromtimestamp(seal.sealed, UTC).strftime("%Y-%m-%d %H:%M:%S") if seal.sealed else "unknown"
    return (*map(str, counts), when, shown_name(seal.tick) if seal.tick else "-")
