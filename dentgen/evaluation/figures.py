"""Figures of an evaluation as aligned text and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_figures(figures: Mapping[str, float], path: Path, more: Mapping[str, Any] | None = None) -> None:
    """Write ``{"figures": {...}}`` as JSON, rounded to four digits; figures that are not finite become null.

    Args:
        figures: Figures by name.
        path: The file; its folder is created.
        more: What else the file has, as JSON values.
    """
    rounded = {name: round(value, 4) if math.isfinite(value) else None for name, value in figures.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"figures": rounded, **(more or {})}, indent=1) + "\n")


def figure_lines(figures: Mapping[str, float]) -> list[str]:
    """Format figures as aligned text, one per line."""
    return [f"{name:34s} {value:9.4f}" for name, value in figures.items()]
