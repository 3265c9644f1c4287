"""Places: which file system and which path the text that a user gave names, the same in every process.

Text without ``SCHEME://`` is a local path, taken as it stands: nothing in it is a pattern, an escape or a chain. Only
``~`` and ``~/...`` stand for the home folder, which ``absolute`` resolves once, where a program starts. ``file://`` and
``local://`` URLs are local paths too, percent-decoded (RFC 8089). Any other URL is one location in one store.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import fsspec
from fsspec.archive import AbstractArchiveFileSystem
from fsspec.implementations.chained import ChainedFileSystem

from dentgen.errors import StorageError
from dentgen.redaction import without_user

#: Attempts at one request to S3; AWS_MAX_ATTEMPTS and AWS_RETRY_MODE of the environment win.
S3_ATTEMPTS: Final = 8
_URL: Final = re.compile(r"([a-z][a-z0-9+.-]*)://(.*)", re.IGNORECASE | re.DOTALL)
_LOCAL: Final = frozenset({"file", "local"})
_S3: Final = frozenset({"s3", "s3a"})
_WEB: Final = frozenset({"http", "https"})
#: Schemes of fsspec that are no storage: content in the URL itself, and wrappers of other file systems.
_NO_STORAGE: Final = frozenset({"data", "reference", "dir", "generic", "async_wrapper"})


def expanded(place: str) -> str:
    """A place without ``~`` and ``file://``, and with its scheme in lower case; expanding it again changes nothing.

    Raises:
        StorageError: If a ``file://`` URL names another host or no absolute path.
    """
    scheme, rest = _split(place)
    if scheme in _LOCAL:
        return _path_of(place, rest)
    if scheme:
        return f"{scheme}://{rest}"
    return os.path.expanduser(place) if place == "~" or place.startswith("~/") else place  # noqa: PTH111 - only "~"


def absolute(place: str) -> str:
    """A place that depends neither on the working directory nor on the home folder: a local path, or a URL.

    Raises:
        StorageError: As for ``expanded``.
    """
    place = expanded(place)
    return place if is_remote(place) else str(Path(place).absolute())


def is_remote(place: str) -> bool:
    """Whether a place is not a path on this machine."""
    return _split(place)[0] not in {"", *_LOCAL}


def is_web(place: str) -> bool:
    """Whether a place is an address of a web server, which serves single files and lists none."""
    return _split(place)[0] in _WEB


def without_secrets(place: str) -> str:
    """A place for logs and metadata: without user and password, and without a query that may be a signature."""
    scheme, rest = _split(place)
    if scheme in {"", *_LOCAL}:
        return place
    path, question, query = without_user(scheme, rest).partition("?")
    is_name = scheme not in _WEB and "=" not in query  # keys of object stores may contain "?"
    return f"{place[: len(scheme)]}://{path}{question + query if is_name else ''}"


def locate(place: str) -> tuple[Any, str]:
    """The file system of a place, and the path in it.

    Raises:
        StorageError: If the place holds a password, or nothing installed reads its scheme.
    """
    place = absolute(place)
    scheme, _ = _split(place)
    if "\0" in place:
        raise StorageError(file=place, found="a null character", expected="a name that a file can have")
    if not scheme:
        return fsspec.filesystem("file"), place
    require_no_password(place)
    kind = _file_system(place, scheme)
    options = _s3_options() if scheme in _S3 else {}
    return kind(**{**kind._get_kwargs_from_urls(place), **options}), kind._strip_protocol(place)  # noqa: SLF001 - fsspec's way


def require_no_password(place: str) -> None:
    """Check that a URL has no password before its host, and an address of a web server nothing at all: a token.

    Raises:
        StorageError: If it has.
    """
    scheme, rest = _split(place)
    user = rest.partition("/")[0].rpartition("@")[0]
    hidden = scheme and without_user(scheme, rest) != rest
    if hidden and (scheme in _WEB or ":" in user or "@" not in rest.partition("/")[0]):
        raise StorageError(file=without_secrets(place), found="a password in the URL", expected="it in the environment")


def _split(place: str) -> tuple[str, str]:
    """Scheme in lower case and the rest of a URL; "" and the text for a path."""
    match = _URL.fullmatch(place)
    return (match[1].lower(), match[2]) if match else ("", place)


def _path_of(place: str, rest: str) -> str:
    host, slash, path = rest.partition("/")
    if not slash or host not in {"", "localhost"}:
        raise StorageError(
            file=place, found=f"the host {host!r}" if host else "no path", expected="file:///PATH, or a plain path"
        )
    return unquote(slash + path, errors="surrogateescape")


def _file_system(place: str, scheme: str) -> Any:
    """The class that reads a scheme."""
    wanted = "a local path, s3://, or another store that fsspec opens"
    try:
        kind = fsspec.get_filesystem_class(scheme)
    except ImportError as error:
        raise StorageError(
            file=place, found=f"a URL of {scheme}", expected="its package to be installed", advice=str(error)
        ) from error
    except ValueError as error:
        raise StorageError(file=place, found=f"the unknown scheme {scheme}", expected=wanted) from error
    if scheme in _NO_STORAGE or issubclass(kind, (AbstractArchiveFileSystem, ChainedFileSystem)):
        raise StorageError(file=place, found=f"{scheme}, which wraps other storage", expected=wanted)
    return kind


def _s3_options() -> Mapping[str, Any]:
    """Retries of botocore, and of s3fs where two create-only PUTs collide (409, which AWS asks to retry)."""
    from s3fs.core import set_custom_error_handler

    set_custom_error_handler(lambda error: "ConditionalRequestConflict" in str(error))
    attempts = os.environ.get("AWS_MAX_ATTEMPTS", str(S3_ATTEMPTS))
    if not attempts.isdecimal():
        raise StorageError(key="AWS_MAX_ATTEMPTS", found=repr(attempts), expected="a whole number")
    retries = {
        "max_attempts": int(attempts),
        "mode": os.environ.get("AWS_RETRY_MODE", "standard"),
    }
    return {"config_kwargs": {"retries": retries}}
