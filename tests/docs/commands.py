"""Commands and code blocks of the README and the documentation's pages."""

from __future__ import annotations

import re
from pathlib import Path

from tests.conftest import ROOT


def shell_commands(page: Path) -> list[str]:
    """Every command line in a page's shell blocks."""
    lines = [line.split("  #")[0].strip() for block in blocks(page, "sh") for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def blocks(page: Path, language: str) -> list[str]:
    """Code blocks of one language."""
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


def readme_commands() -> list[str]:
    """Every command line in the README's shell blocks."""
    return shell_commands(ROOT / "README.md")
