"""Errors that end a command: one line on standard error, and where the traceback of an unexpected one is."""

from __future__ import annotations

import os
import tempfile
import traceback
from typing import Final

import typer

from dentgen.errors import DentgenError, exit_code, is_out_of_memory
from dentgen.redaction import shown, shown_name

#: Set to anything, tracebacks are printed instead of written to a file.
DEBUG: Final = "DENTGEN_DEBUG"
_MOST: Final = 500


def report_error(error: Exception) -> int:
    """Print an error in one line; returns the exit code.

    Args:
        error: Raised on purpose, or not: then its traceback goes into a temporary file that the line names.
    """
    debug = bool(os.environ.get(DEBUG))
    if debug:
        typer.echo(_traceback(error), err=True, nl=False)
    if isinstance(error, DentgenError):
        typer.echo(f"error: {error}", err=True)
        return exit_code(error)
    kind = type(error).__name__
    text = shown_name(" ".join(str(error)[: 4 * _MOST].split()))
    text = text if len(text) <= _MOST else f"{text[:_MOST]} ..."
    place = "" if debug else f"; {_kept(error)}"
    if isinstance(error, OSError) and error.errno is not None:
        typer.echo(f"error: {text}{place}", err=True)
    elif is_out_of_memory(error):
        typer.echo(f"error: out of memory: {text}{place}", err=True)
    else:
        typer.echo(f"unexpected error: {kind}: {text}{place}", err=True)
    return 1


def _traceback(error: Exception) -> str:
    """The traceback of an error, without secrets in it."""
    return shown("".join(traceback.format_exception(error)))


def _kept(error: Exception) -> str:
    """Write the traceback to a file, and say where it is."""
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", errors="backslashreplace", prefix="dentgen-", suffix=".log", delete=False
        ) as file:
            file.write(_traceback(error))
    except OSError:  # a full disk must not hide the error
        return f"set {DEBUG}=1 to see where"
    return f"traceback in {file.name}"
