"""A measured decision table as JSON and as aligned text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import isfinite
from typing import Any, Final

from dentgen.evaluation.tables.candidates import SEED
from dentgen.evaluation.tables.spreads import Spread
from dentgen.evaluation.tables.study import VARIANTS, TableRow, TableStudy
from dentgen.redaction import redacted

#: Figures of the text, those of a judge by the first one; all others are in JSON and page.
_SHOWN: Final = ("miou", "boundary_f1", "bleed_in", "bleed_out", "light_correlation", "detail", "kernel_distance")
_DIGITS: Final = 5
#: Least width of a column.
_WIDTH: Final = 19


def table_document(study: TableStudy, command: str) -> dict[str, Any]:
    """Everything but the pictures, as JSON values; figures that are not finite are None.

    Args:
        study: The table.
        command: Command that measures it again.
    """
    return {
        "table": study.table.number,
        "question": study.table.question,
        "note": study.table.note,
        "command": command,
        "records": len(study.keys),
        "variants": VARIANTS,
        "seeds": study.seeds,
        "rows": [_row(row) for row in study.rows],
        "reference": {name: _rounded(value) for name, value in study.reference.items()},
        "best": study.best,
    }


def seeds_of(row: TableRow) -> str:
    """What the spread of a row is over."""
    own = row.trained is not None or any(SEED in change for change in row.candidate.changes)
    return "training and noise" if own else "noise"


def settings_of(row: TableRow) -> list[str]:
    """Changes of the spec that make a row, without secrets of their URLs."""
    return [redacted(change) for change in row.candidate.changes]


def table_lines(study: TableStudy) -> list[str]:
    """Format means and spreads as aligned text; a star marks the best where it leads by more than the spread."""
    names = _columns(list(study.reference))
    first, width = max(len(row.candidate.name) for row in study.rows) + 2, max(_WIDTH, *(len(n) + 2 for n in names))
    lines = [f"{'':{first}s}" + "".join(f"{name:>{width}s}" for name in names)]
    for row in study.rows:
        cells = (cell(row.figures[name], study.best.get(name) == row.candidate.name) for name in names)
        lines.append(f"{row.candidate.name:{first}s}" + "".join(f"{text:>{width}s}" for text in cells))
    reference = "".join(f"{study.reference[name]:>{width}.3f}" for name in names)
    return [*lines, f"{'reference':{first}s}{reference}"]


def cell(figure: Spread, is_best: bool = False) -> str:
    """Mean and standard deviation, with a star for the best."""
    if not isfinite(figure.mean):
        return ""
    deviation = f" ± {figure.deviation:.3f}" if isfinite(figure.deviation) else ""
    return f"{figure.mean:.3f}{deviation}{' *' if is_best else ''}"


def _columns(measured: Sequence[str]) -> list[str]:
    """Names of the text's figures among those measured: without the U-Net, those of another judge, by its suffix."""
    found = (
        next((name for name in measured if name == shown or name.startswith(f"{shown}_")), None) for shown in _SHOWN
    )
    return [name for name in found if name is not None]


def _row(row: TableRow) -> dict[str, Any]:
    trained = row.trained
    return {
        "name": row.candidate.name,
        "settings": settings_of(row),
        "training": None if row.candidate.training is None else [dict(part) for part in row.candidate.training.parts],
        "seeds_of": seeds_of(row),
        "figures": {name: _figure(figure) for name, figure in row.figures.items()},
        "cost": {
            **{name: _rounded(value) for name, value in asdict(row.cost).items()},
            "seconds_over_first": _rounded(row.seconds),
            "trained_parameters": trained and trained.parameters,
            "trained_bytes": trained and trained.size,
            "training_steps": trained and trained.steps,
        },
    }


def _figure(figure: Spread) -> Mapping[str, Any]:
    return {
        "mean": _rounded(figure.mean),
        "spread": _rounded(figure.deviation),
        "values": [_rounded(value) for value in figure.values],
    }


def _rounded(value: float) -> float | None:
    return round(value, _DIGITS) if isfinite(value) else None
