"""Open builds with mlcroissant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlcroissant


def opened(out: Path) -> Any:
    """The Croissant dataset of a build."""
    return mlcroissant.Dataset(str(out / "croissant.json"))
