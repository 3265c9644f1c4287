"""CONTRIBUTING.md: the reading path follows the imports, and the layers are those that import-linter enforces."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

from tests.conftest import ROOT
from tests.docs.commands import blocks

PAGE = ROOT / "CONTRIBUTING.md"


def reading_path() -> list[str]:
    """Files of the numbered list under "Reading path"."""
    section = PAGE.read_text().split("## Reading path")[1].split("\n## ")[0]
    return re.findall(r"^\d+\. `([\w/.]+)`", section, re.MULTILINE)


def imports_of(file: Path) -> set[str]:
    """Modules that a file imports, and the names that it imports from packages."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
    return found


def test_the_reading_path_has_at_most_15_files_from_the_unit_to_the_tar() -> None:
    path = reading_path()
    assert (path[0], path[-1]) == ("dentgen/pipeline/make_units.py", "dentgen/shards/tar.py")
    assert len(path) <= 15


def test_every_file_of_the_reading_path_is_imported_by_one_above_it() -> None:
    path, imported = reading_path(), set[str]()
    for number, name in enumerate(path):
        module = name.removesuffix(".py").replace("/", ".")
        assert number == 0 or module in imported, name
        imported |= imports_of(ROOT / name)


def test_the_layers_are_those_of_the_contract() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    assert blocks(PAGE, "text")[-1].splitlines() == layers
    shown = re.findall(r"^\| .* \| (`.*`) \|$", (ROOT / "docs" / "how" / "index.md").read_text(), re.MULTILINE)
    assert [row.replace("`", "").split(", ") for row in shown] == [layer.split(" | ") for layer in layers]
