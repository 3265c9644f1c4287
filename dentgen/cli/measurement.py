"""Options and output shared by the commands that measure: evaluate, compare and benchmark."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from tqdm import tqdm

from dentgen.errors import SpecError

SpecFile = Annotated[
    Path | None, typer.Option("--spec", metavar="FILE", help="Build spec, YAML.", show_default="the demo's")
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="A.B=VALUE", help="Replace one key of the spec; repeatable.")
]
JudgeRecords = Annotated[int, typer.Option(min=2, help="Phantoms that judges are trained on.")]
DilatedSteps = Annotated[int, typer.Option(min=1, help="Training steps of the dilated segmenter.")]
UnetSteps = Annotated[int, typer.Option(min=1, help="Training steps of the U-Net segmenter.")]
Work = Annotated[
    str, typer.Option(metavar="FOLDER", help="Caches phantoms, judges and builds, for any number of models.")
]
WORK: Final = "work/evaluate"
#: A URL as ``Path`` leaves it, with one slash less.
_URL: Final = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)
JsonFile = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the figures to this file too.")]


def prepare_folder(file: Path | None) -> None:
    """Create the folder of an output file, so that a wrong path fails before the work and not after it.

    Raises:
        SpecError: If the folder cannot be created, or a URL was given.
    """
    if file is not None:
        if _URL.match(str(file)):
            raise SpecError(file=str(file), found="a URL", expected="a file on this machine")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SpecError(file=str(file), found=str(error), expected="a folder that can be created") from error


def parse_numbers(option: str, text: str) -> list[int]:
    """Parse positive numbers separated by commas; empty text gives an empty list.

    Raises:
        SpecError: If something else is found.
    """
    parts = text.split(",") if text else []
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise SpecError(key=option, found=text, expected="positive whole numbers separated by commas")
    return [int(part) for part in parts]


def parse_shares(option: str, text: str) -> tuple[float, ...]:
    """Parse numbers over 0 and at most 1, separated by commas.

    Raises:
        SpecError: If something else is found.
    """
    try:
        shares = tuple(float(part) for part in text.split(","))
    except ValueError:
        shares = ()
    if not shares or not all(0 < share <= 1 for share in shares):
        raise SpecError(key=option, found=text, expected="numbers over 0 and at most 1, separated by commas")
    return shares


def log_line(line: str) -> None:
    """Print a line to standard error, above a progress bar if there is one."""
    tqdm.write(line, file=sys.stderr)


def print_figures(figures: dict[str, Any], file: Path | None) -> None:
    """Print figures as JSON, and write them to a file if one is given."""
    text = json.dumps(figures, indent=1)
    typer.echo(text)
    if file is not None:
        file.write_text(text + "\n")


def print_lines(lines: Iterable[str]) -> None:
    """Print lines as they come."""
    for line in lines:
        typer.echo(line)


def grouped(option: str, texts: list[str] | None) -> list[list[str]]:
    """``NAME:VALUE`` texts as [name, value, value, ...] per name, in order; ``NAME`` alone has no values."""
    groups: dict[str, list[str]] = {}
    for text in texts or ():
        name, colon, value = text.partition(":")
        if not name or (colon and not value):
            raise SpecError(key=option, found=text, expected="NAME:VALUE")
        groups.setdefault(name, []).extend([value] if colon else [])
    return [[name, *values] for name, values in groups.items()]
