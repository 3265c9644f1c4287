"""Commands and code blocks of the README and the documentation's pages."""

from __future__ import annotations

import re
import shlex
import textwrap
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import typer

from dentgen.cli.app import app
from tests.conftest import ROOT

DOCS = ROOT / "docs"
#: Pages whose code is checked: the README, CONTRIBUTING.md, the site's own pages, and those beside the code.
PAGES = sorted(
    [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *DOCS.rglob("*.md"),
        ROOT / "cluster" / "README.md",
        *(ROOT / "dentgen").rglob("README.md"),
    ]
)


def page_name(page: Path) -> str:
    """A page's path, relative to the repository."""
    return str(page.relative_to(ROOT))


def blocks(page: Path, language: str) -> list[str]:
    """Code blocks of one language, those inside admonitions and lists included."""
    fence = re.compile(rf"^( *)```{language}\n(.*?)^\1```", re.DOTALL | re.MULTILINE)
    return [textwrap.dedent(block[2]) for block in fence.finditer(page.read_text())]


def shell_commands(page: Path) -> list[str]:
    """Every command line in a page's shell blocks; continued lines are one."""
    text = "\n".join(blocks(page, "sh")).replace("\\\n", " ")
    lines = [line.split("  #")[0].split(" # ")[0].strip() for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def readme_commands() -> list[str]:
    """Every command line in the README's shell blocks."""
    return shell_commands(ROOT / "README.md")


@dataclass(frozen=True)
class Parsed:
    """A command line as the real command line reads it: its name, such as "models import", and its values."""

    name: str
    values: dict[str, Any]

    @property
    def overrides(self) -> list[str]:
        """Values of --set."""
        return list(self.values.get("set_") or ())


def dentgen_words(line: str) -> list[str] | None:
    """Arguments of ``dentgen`` in a command line, also where one of ``jobs/`` takes them; None for other programs."""
    words = [word for word in shlex.split(line) if not re.match(r"^[A-Z_]+=", word)]
    if words[:3] == ["ray", "job", "submit"]:
        words = words[words.index("--") + 1 :]
    if words[0] == "dentgen":
        return words[1:]
    if words[0].startswith("python") and words[1].startswith("jobs/"):
        assert (ROOT / words[1]).exists(), line
        return [Path(words[1]).stem, *words[2:]]
    return None


@cache
def _command_line() -> Any:
    return typer.main.get_command(app)


def _own_options(group: Any, words: list[str]) -> int:
    """How many words before the command are options of its group, each with a value."""
    options = {option for parameter in group.params for option in parameter.opts if not parameter.is_flag}
    count = 0
    while words[count] in options:
        count += 2
    return count


def parse(words: list[str]) -> Parsed:
    """Parse arguments without running the command; fails as the command line would."""
    command = _command_line()
    name: list[str] = []
    while hasattr(command, "commands"):
        words = words[_own_options(command, words) :]
        assert words[0] in command.commands, f"no command {' '.join([*name, words[0]])!r}"
        command = command.commands[words[0]]
        name.append(words[0])
        words = words[1:]
    return Parsed(" ".join(name), dict(command.make_context(" ".join(name), list(words)).params))
