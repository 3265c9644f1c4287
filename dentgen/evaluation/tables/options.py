"""Rows that a user adds to a table: adapters and students, as texts or in a YAML file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from dentgen.errors import SpecError
from dentgen.evaluation.tables.candidates import Candidate
from dentgen.evaluation.tables.definitions import sampler_changes
from dentgen.spec.yaml_file import read_values

_ADAPTER: Final = "NAME=BUNDLE:ADAPTER"
_STUDENT: Final = "NAME=LORA:SCHEDULER:STEPS[:TIMESTEPS]"


def parse_adapters(texts: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Parse ``NAME=BUNDLE:ADAPTER``; a bundle may itself have colons.

    Returns:
        Bundle and adapter by name.

    Raises:
        SpecError: If a text is none, or a name comes twice.
    """
    found: dict[str, tuple[str, str]] = {}
    for text in texts:
        name, _, value = text.partition("=")
        bundle, _, adapter = value.rpartition(":")
        if not (name and bundle and adapter):
            raise SpecError(key="--adapter", found=text, expected=_ADAPTER)
        if name in found:
            raise SpecError(key="--adapter", found=f"{name} twice", expected="every name once")
        found[name] = (bundle, adapter)
    return found


def parse_students(texts: Sequence[str]) -> list[Candidate]:
    """Parse ``NAME=LORA:SCHEDULER:STEPS[:TIMESTEPS]``; an empty LORA is none.

    Raises:
        SpecError: If a text is none.
    """
    return [_student(text) for text in texts]


def _student(text: str) -> Candidate:
    name, _, value = text.partition("=")
    parts = value.split(":")
    numbers = [parts[2], *(parts[3].split(",") if len(parts) == 4 else [])] if len(parts) in {3, 4} else []
    if not (name and numbers and parts[1] and all(number.isdecimal() for number in numbers)):
        raise SpecError(key="--student", found=text, expected=_STUDENT)
    steps, *timesteps = map(int, numbers)
    return Candidate(name, sampler_changes(parts[1], steps, parts[0], timesteps))


def read_students(file: Path) -> list[Candidate]:
    """Read students from YAML: for each name, a list of ``a.b=value`` changes of the build spec.

    Raises:
        SpecError: If the file cannot be read, or a name has no such list.
    """
    values = read_values(file)
    for name, changes in values.items():
        is_list = isinstance(changes, list) and all(isinstance(each, str) and "=" in each for each in changes)
        if not is_list:
            raise SpecError(file=str(file), key=str(name), found=repr(changes)[:100], expected="a list of A.B=VALUE")
    return [Candidate(str(name), tuple(changes)) for name, changes in values.items()]
