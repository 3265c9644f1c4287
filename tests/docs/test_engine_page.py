"""The picture, tables and file names of the engine's page agree with the code."""

from __future__ import annotations

import re

from dentgen.models.bundle import find_bundle
from dentgen.spec.sampling import SchedulerName
from tests.conftest import ROOT
from tests.diffusion.parts import table_of_folder
from tests.diffusion.slot_picture import PICTURE, draw

PAGE = (ROOT / "dentgen" / "diffusion" / "README.md").read_text()


def test_the_picture_is_current() -> None:
    """Regenerate it with ``python -m tests.diffusion.slot_picture``."""
    assert PICTURE.read_text() == draw()


def test_the_tables_are_solver_tables() -> None:
    solvers: tuple[tuple[SchedulerName, int], ...] = (("lcm", 2), ("unipc", 4))
    for name, steps in solvers:
        for k, row in enumerate(table_of_folder(find_bundle("miniature"), name, steps).coefficients):
            cells = " | ".join(f"{value:.4f}" if value else "0" for value in row.tolist())
            assert f"| x_{k + 1} | {cells} |" in PAGE


def test_every_module_is_named() -> None:
    modules = {path.name for path in (ROOT / "dentgen" / "diffusion").glob("*.py")} - {"__init__.py"}
    assert modules <= set(re.findall(r"`(\w+\.py)`", PAGE))
