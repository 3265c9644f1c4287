"""A measured decision table as JSON and as aligned text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from math import isfinite
from typing import Any, Final

from dentgen.evaluation.tables.spreads import Spread
from dentgen.evaluation.tables.study import VARIANTS, TableRow, TableStudy

#: Figures of the text; all others are in JSON and page.
_SHOWN: Final = ("miou", "boundary_f1", "bleed_in", "bleed_out", "light_correlation", "detail", "kernel_distance")
_DIGITS: Final = 5


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
    return "noise" if row.trained is None else "training and noise"


def table_lines(study: TableStudy) -> list[str]:
    """Format means and spreads as aligned text; a star marks the best where it leads by more than the spread."""
    width = max(len(row.candidate.name) for row in study.rows) + 2
    lines = [f"{'':{width}s}" + "".join(f"{name:>19s}" for name in _SHOWN)]
    for row in study.rows:
        cells = (cell(row.figures[name], study.best.get(name) == row.candidate.name) for name in _SHOWN)
        lines.append(f"{row.candidate.name:{width}s}" + "".join(f"{text:>19s}" for text in cells))
    reference = "".join(f"{study.reference[name]:>19.3f}" for name in _SHOWN)
    return [*lines, f"{'reference':{width}s}{reference}"]


def cell(figure: Spread, is_best: bool = False) -> str:
    """Mean and standard deviation, with a star for the best."""
    if not isfinite(figure.mean):
        return ""
    deviation = f" ± {figure.deviation:.3f}" if isfinite(figure.deviation) else ""
    return f"{figure.mean:.3f}{deviation}{' *' if is_best else ''}"


def _row(row: TableRow) -> dict[str, Any]:
    trained = row.trained
    return {
        "name": row.candidate.name,
        "settings": list(row.candidate.changes),
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
