"""Errors of stores and servers, as ``StorageError`` with the file's URL."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, Final, ParamSpec, TypeVar

from dentgen.errors import RefusedFileError, StorageError
from dentgen.redaction import redacted
from dentgen.storage.places import without_secrets

#: Libraries whose errors say that a store or a server failed, though they are no OSErrors.
_CLIENTS: Final = frozenset({"botocore", "aiohttp"})

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")
_Operation = Callable[Concatenate[str, _Arguments], _Result]


def maps_errors(action: str) -> Callable[[_Operation[_Arguments, _Result]], _Operation[_Arguments, _Result]]:
    """Turn OSError and botocore's errors into StorageError with the URL (s3fs re-raises botocore's, no OSErrors)."""

    def decorate(operation: _Operation[_Arguments, _Result]) -> _Operation[_Arguments, _Result]:
        @wraps(operation)
        def mapped(url: str, /, *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
            try:
                return operation(url, *args, **kwargs)
            except Exception as error:
                if not isinstance(error, OSError) and type(error).__module__.partition(".")[0] not in _CLIENTS:
                    raise
                kind = RefusedFileError if action == "read" and isinstance(error, PermissionError) else StorageError
                # tracebacks show the text of the cause as it is
                cause = error if redacted(str(error)) == str(error) else None
                raise kind(f"cannot be {action}: {error}", file=without_secrets(url)) from cause

        return mapped

    return decorate
