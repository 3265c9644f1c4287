"""Steps of ``cluster/Dockerfile``, as a parser of Dockerfiles reads them, and what ``.dockerignore`` leaves out."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from dockerfile_parse import DockerfileParser

from tests.conftest import ROOT

DOCKERFILE = ROOT / "cluster" / "Dockerfile"


@dataclass
class Stage:
    """A stage of a Dockerfile: its base, and its instructions in order."""

    base: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def values(self, instruction: str) -> list[str]:
        """The values of an instruction."""
        return [value for name, value in self.steps if name == instruction]

    @property
    def arguments(self) -> dict[str, str]:
        """Defaults of its ARGs, without quotes."""
        pairs = (value.partition("=") for value in self.values("ARG"))
        return {name: "".join(shlex.split(value)) for name, _, value in pairs}


def stages(path: Path = DOCKERFILE) -> tuple[dict[str, str], list[Stage]]:
    """The ARGs before the first stage, and the stages."""
    parser = DockerfileParser(path=str(path), cache_content=True)
    before, found = Stage(""), list[Stage]()
    for step in parser.structure:
        name, value = step["instruction"], step["value"]
        if name == "FROM":
            found.append(Stage(value))
        elif name != "COMMENT":
            (found[-1] if found else before).steps.append((name, value))
    return before.arguments, found


def ignored(name: str, patterns: Sequence[str]) -> bool:
    """Whether a path of the context is left out: the last pattern that matches it, or a folder above it, counts."""
    result = False
    places = [name, *(str(parent) for parent in Path(name).parents if str(parent) != ".")]
    for pattern in patterns:
        bare = pattern.removeprefix("!")
        if any(_matches(place, bare) for place in places):
            result = not pattern.startswith("!")
    return result


def _matches(place: str, pattern: str) -> bool:
    if pattern.startswith("**/"):
        return fnmatchcase(Path(place).name, pattern[3:])
    return fnmatchcase(place, pattern) and place.count("/") == pattern.count("/")


def ignore_patterns() -> list[str]:
    """Lines of ``.dockerignore`` at the top of the repository, which is the build's context."""
    lines = (line.strip() for line in (ROOT / ".dockerignore").read_text().splitlines())
    return [line for line in lines if line and not line.startswith("#")]
