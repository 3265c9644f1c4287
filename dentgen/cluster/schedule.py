"""Schedules as Kubernetes and KubeRay read them: five fields of cron, or a word such as @daily."""

from __future__ import annotations

import re
from typing import Final
from zoneinfo import available_timezones

from dentgen.errors import SpecError

_WORDS: Final = frozenset({"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"})
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
#: Name, lowest and highest value, and words for values, of every field.
_FIELDS: Final = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 6, _DAYS),
)
_PART: Final = re.compile(r"(\*|\?|\w+)(?:-(\w+))?(?:/(\d+))?")


def require_schedule(text: str) -> None:
    """Check a schedule.

    Raises:
        SpecError: If it is none; ``key`` names the field.
    """
    if text in _WORDS:
        return
    fields = text.split()
    if len(fields) != len(_FIELDS):
        raise SpecError(key="--schedule", found=text, expected="five fields, such as '0 3 * * *', or @daily")
    for field, (name, low, high, words) in zip(fields, _FIELDS, strict=True):
        if not all(_is_part(part, low, high, words) for part in field.split(",")):
            expected = f"{low} to {high}, *, ranges, lists and steps"
            raise SpecError(key=f"--schedule, {name}", found=field, expected=expected)


def require_time_zone(name: str) -> None:
    """Check the name of a time zone.

    Raises:
        SpecError: If there is none of that name.
    """
    if name not in available_timezones():
        raise SpecError(key="--time-zone", found=name, expected="a name such as Etc/UTC or Europe/Berlin")


def _is_part(part: str, low: int, high: int, words: tuple[str, ...]) -> bool:
    """Whether one of the parts that commas separate is a value, a range or a step within the bounds."""
    match = _PART.fullmatch(part)
    if match is None:
        return False
    first, last, step = match.groups()
    if step is not None and int(step) == 0:
        return False
    if first in {"*", "?"}:
        return last is None
    bounds = [_number(word, low, words) for word in (first, last) if word is not None]
    return all(low <= bound <= high for bound in bounds) and bounds == sorted(bounds)


def _number(word: str, low: int, words: tuple[str, ...]) -> int:
    """The value of a number or name, -1 if it is neither."""
    if word.lower() in words:
        return words.index(word.lower()) + low
    return int(word) if word.isascii() and word.isdigit() else -1
