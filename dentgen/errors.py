"""Every error that dentgen raises on purpose.

    DentgenError
    +-- SpecError           a spec, option or argument is wrong; exit code 2
    +-- ConditionError      a condition record or shard cannot be used
    +-- BundleError         a model bundle is missing, damaged or of the wrong kind
    +-- TrainingError       a training run cannot start or continue
    +-- SolverError         a scheduler cannot be turned into a solver table
    +-- EngineError         the diffusion engine cannot continue
        +-- CanvasError         one canvas failed; the engine and its other canvases continue
            +-- ControlError        a control branch failed on it
        +-- OutOfMemoryError    the engine's shape does not fit into the device's memory
    +-- StorageError        a file or folder cannot be listed, read or written
        +-- RefusedFileError    access to one file is denied; others may be readable
    +-- BuildError          a build cannot continue as asked
        +-- SpecChangedError    resuming under another spec, bundle or environment
        +-- DeterminismError    two attempts at one unit produced different bytes
        +-- NothingWrittenError every sample of a build was rejected

Errors carry fields (file, key, found, expected); their text is composed from them. It shows neither secrets nor control
characters of data, whatever the fields hold.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Sequence
from typing import Any, Final, Self

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from dentgen.redaction import shown, shown_name


class DentgenError(Exception):
    """Base of all errors raised by dentgen.

    Attributes:
        message: What happened, "" where ``found`` and ``expected`` say it all.
        file: File, folder, URL or shard member at fault, "" if none.
        key: Key, option or record in it, "" if none.
        found: What is there, "" if ``message`` says it.
        expected: What should be there, "" if ``message`` says it.
        advice: What the user can do, "" if it is plain.
    """

    def __init__(
        self,
        message: str = "",
        *,
        file: str = "",
        key: str = "",
        found: Any = "",
        expected: Any = "",
        advice: str = "",
    ) -> None:
        """Store the fields."""
        super().__init__(message)
        self.message, self.file, self.key = message, file, key
        self.found, self.expected, self.advice = found, expected, advice

    def __str__(self) -> str:
        """``FILE: KEY: MESSAGE: found X, expected Y; ADVICE``, without what is empty."""
        facts = ", ".join(
            f"{word} {shown_name(value)}"
            for word, value in (("found", self.found), ("expected", self.expected))
            if value != ""
        )
        parts = (shown_name(self.file), shown_name(self.key), shown(self.message), facts)
        text = ": ".join(filter(None, parts))
        return f"{text}; {shown(self.advice)}" if self.advice else text


class SpecError(DentgenError):
    """A spec, option or argument is wrong.

    Attributes:
        faults: Every wrong key of a spec; the first one's fields are those of the error.
    """

    faults: tuple[DentgenError, ...] = ()

    @classmethod
    def of_faults(cls, file: str, faults: Sequence[DentgenError]) -> Self:
        """One error for all that is wrong with a spec."""
        first = faults[0]
        error = cls(first.message, file=file, key=first.key, found=first.found, expected=first.expected)
        error.faults = tuple(faults)
        return error

    def __str__(self) -> str:
        """A line for every fault, if there are several."""
        if len(self.faults) < 2:
            return super().__str__()
        return "\n  ".join([f"{shown_name(self.file)}:", *map(str, self.faults)])


class ConditionError(DentgenError):
    """A condition record or shard cannot be used."""

    def __init__(self, file: str = "", found: Any = "", expected: Any = "", advice: str = "") -> None:
        """Say where, what was found and what was expected; ``file`` is the member or shard as a user looks for it."""
        super().__init__(file=file, found=found, expected=expected, advice=advice)


class BundleError(DentgenError):
    """A model bundle is missing, damaged or of the wrong kind."""


class TrainingError(DentgenError):
    """A training run cannot begin or go on."""


class SolverError(DentgenError):
    """A scheduler cannot be turned into a solver table."""


class EngineError(DentgenError):
    """The diffusion engine cannot go on."""


class CanvasError(EngineError):
    """One canvas cannot be made; the engine and its neighbours go on."""


class ControlError(CanvasError):
    """A control branch failed; the canvases that it acted on are not made."""


class OutOfMemoryError(EngineError):
    """The engine's shape does not fit into the device's memory."""


class StorageError(DentgenError):
    """A place cannot be listed, read or written."""


class RefusedFileError(StorageError):
    """The storage refuses one file to us; trying again will not help."""


class BuildError(DentgenError):
    """A build cannot go on as asked."""


class SpecChangedError(BuildError):
    """The output was made under another spec, bundle or environment."""


class DeterminismError(BuildError):
    """Two attempts at one unit gave different bytes."""


class NothingWrittenError(BuildError):
    """Every sample of a build was rejected, so that there is no dataset to seal."""


def exit_code(error: DentgenError) -> int:
    """1 for builds and trainings that failed or that their output refuses, 2 for what spec, files or storage refuse."""
    return 1 if isinstance(error, (BuildError, TrainingError)) else 2


def faults_of(error: ValueError, most: int = 5) -> str:
    """What is wrong with a document: of pydantic's findings the first ones, and how many more there are."""
    findings = error.errors() if isinstance(error, ValidationError) else []
    if not findings:
        return str(error)
    lines = [f"{_path(found['loc'])}{found['msg'][:200]}" for found in findings]
    more = [f"and {len(lines) - most} more"] if len(lines) > most else []
    return "; ".join([*lines[:most], *more])


def found_and_expected(fault: ErrorDetails) -> tuple[str, str, str]:
    """One of pydantic's findings as fields of an error: message, found, expected.

    A validator's own text says ``found X, expected Y``; pydantic's say what the input should be, or how long.
    """
    text = fault["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if own := re.fullmatch(r"(.*?)found (.*?), expected (.*)", text, re.DOTALL):
        return own[1].rstrip(": "), own[2], own[3]
    found = reprlib.repr(fault["input"])
    if expected := fault.get("ctx", {}).get("expected"):
        return "", found, str(expected)
    if limit := re.search(r" should (?:be|have|match) (.+?)(?:, unable to .*| after validation, not .*)?$", text):
        return "", found, limit[1]
    return text, found, "a value" if fault["type"] == "missing" else ""


def _path(steps: tuple[int | str, ...]) -> str:
    """Where in a document, as a.b.0; names that no terminal can show are escaped."""
    path = ".".join(str(step) if str(step).isprintable() else ascii(step) for step in steps)
    return f"{path[:200]}: " if path else ""


#: What torch's CPU allocator, cuBLAS and cuDNN say, and oneDNN, which means memory although it does not say so.
_NO_MEMORY: Final = ("can't allocate memory", "could not create a primitive", "ALLOC_FAILED", "out of memory")
_DEVICE: Final = ("CUDA error", "CUBLAS_STATUS", "CUDNN_STATUS", "cuDNN error")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device or this process had no memory left; torch says it in several ways."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY)


def is_device_fault(error: BaseException) -> bool:
    """Whether a device failed, memory included: nothing that it was asked to do can be blamed."""
    named = isinstance(error, RuntimeError) and any(words in str(error) for words in _DEVICE)
    return named or type(error).__name__ == "AcceleratorError" or is_out_of_memory(error)
