"""Every error that dentgen raises on purpose.

    DentgenError
    +-- SpecError           a spec, option or argument is wrong; exit code 2
    +-- ConditionError      a condition record or shard cannot be used
    +-- BundleError         a model bundle is missing, damaged or of the wrong kind
    +-- TrainingError       a training run cannot begin or go on
    +-- SolverError         a scheduler cannot be turned into a solver table
    +-- EngineError         the diffusion engine cannot go on
        +-- CanvasError         one canvas cannot be made; the engine and its neighbours go on
            +-- ControlError        a control branch failed on it
        +-- OutOfMemoryError    the engine's shape does not fit into the device's memory
    +-- StorageError        a place cannot be listed, read or written
        +-- RefusedFileError    one file is refused to us; others may not be
    +-- BuildError          a build cannot go on as asked
        +-- SpecChangedError    resuming under another spec, bundle or environment
        +-- DeterminismError    two attempts at one unit gave different bytes

Messages name the file or URL, the key, what was found and what was expected.
"""

from __future__ import annotations

from typing import Final

from pydantic import ValidationError


class DentgenError(Exception):
    """Base of all errors raised by dentgen."""


class SpecError(DentgenError):
    """A spec, option or argument is wrong."""


class ConditionError(DentgenError):
    """A condition record or shard cannot be used.

    Attributes:
        place: File or member, as a user would look for it.
        found: What is there.
        expected: What should be there.
    """

    def __init__(self, place: str, found: str, expected: str) -> None:
        """Say where, what was found and what was expected."""
        super().__init__(f"{place}: found {found}, expected {expected}")
        self.place, self.found, self.expected = place, found, expected

    def __reduce__(self) -> tuple[type[ConditionError], tuple[str, str, str]]:
        return type(self), (self.place, self.found, self.expected)


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
