"""Whether two places are one, or lie inside each other, whatever their spelling."""

from __future__ import annotations

import os
from pathlib import Path

from dentgen.errors import SpecError
from dentgen.storage.places import absolute, is_remote, without_secrets

#: Other names of one scheme.
_SAME_SCHEME = {"s3a": "s3", "s3n": "s3", "gcs": "gs", "abfss": "abfs", "https": "http"}


def is_same(place: str, other: str) -> bool:
    """Whether two places are one and the same."""
    return is_within(place, other) and is_within(other, place)


def is_within(place: str, folder: str) -> bool:
    """Whether a place is a folder or lies anywhere in it.

    Links, ``..``, slashes and, as far as the file system ignores it, case make no difference: local paths are followed
    upwards until a folder is the very same one. Places of different stores never overlap.

    Args:
        place: Path or URL; need not exist.
        folder: Path or URL.
    """
    place, folder = absolute(place), absolute(folder)
    if is_remote(place) or is_remote(folder):
        steps, of_folder = _steps(place), _steps(folder)
        return is_remote(place) and is_remote(folder) and steps[: len(of_folder)] == of_folder
    path, root = Path(os.path.realpath(place)), Path(os.path.realpath(folder))
    return any(parent == root or _is_same_file(parent, root) for parent in (path, *path.parents))


def require_apart(key: str, place: str, other_key: str, other: str, *, inside_allowed: bool = False) -> None:
    """Check that nothing that is written to one place can change what is read from another one.

    Args:
        key: What the place that is written to is called in messages: a key of a spec, or an argument.
        place: The place.
        other_key: What the other place is called.
        other: The place that is read.
        inside_allowed: The place may lie inside the other one.

    Raises:
        SpecError: If they are the same, or one lies inside the other.
    """
    if is_same(place, other):
        found = f"the same place as {other_key}"
    elif is_within(other, place):
        found = f"{other_key} inside it, {without_secrets(other)}"
    elif is_within(place, other) and not inside_allowed:
        found = f"a place inside {other_key}, {without_secrets(other)}"
    else:
        return
    expected = f"a place apart from {other_key}, so that nothing that is read is written over"
    raise SpecError(file=without_secrets(place), key=key, found=found, expected=expected)


def _steps(place: str) -> tuple[str, ...]:
    """Scheme and path of a URL without empty steps."""
    scheme, _, rest = without_secrets(place).partition("://")
    return (_SAME_SCHEME.get(scheme, scheme), *filter(None, rest.split("/")))


def _is_same_file(path: Path, other: Path) -> bool:
    try:
        return Path(path).samefile(other)
    except OSError:
        return False
