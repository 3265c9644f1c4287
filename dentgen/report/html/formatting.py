"""Format numbers, sizes and times for the page."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import humanize


def number(value: float, decimals: int = 0) -> str:
    """A number with its thousands separated: ``12,345``."""
    return humanize.intcomma(value, decimals)


def rate(value: float) -> str:
    """A rate with two to three significant digits, and as many decimals as others of its size: ``0.31``, ``12.5``."""
    if 0 < value < 0.1:
        return f"{value:#.2g}"
    return humanize.intcomma(value, 0 if value >= 100 else 1 if value >= 10 else 2)


def byte_size(size: int) -> str:
    """A size in decimal units, as object stores bill them: ``2.81 MB``."""
    return humanize.naturalsize(size, format="%.3g")


def share(part: float, whole: float) -> str:
    """A part of a whole in per cent. Only nothing is called 0 %, and only the whole 100 %."""
    percent = 100 * part / whole if whole else 0.0
    if 0 < percent < 0.1:
        return "< 0.1 %"
    rounded = f"{percent:.1f}".removesuffix(".0")
    return f"{'99.9' if rounded == '100' and part < whole else rounded} %"


def duration(seconds: float) -> str:
    """A duration in its two largest units: ``2 days and 23 hours``."""
    smallest = "hours" if seconds >= 86400 else "minutes" if seconds >= 3600 else "seconds"
    decimals = "%0.0f" if seconds >= 10 else "%0.1f"
    return humanize.precisedelta(timedelta(seconds=seconds), minimum_unit=smallest, format=decimals)


def clock(seconds: float) -> str:
    """A duration in the form of a clock, for the columns of a table: ``1:30:05``."""
    return str(timedelta(seconds=round(seconds)))


def moment(unix_time: float) -> str:
    """A Unix time in UTC, to the minute."""
    return datetime.fromtimestamp(unix_time, UTC).strftime("%Y-%m-%d %H:%M UTC")


def shortened(text: str, length: int) -> str:
    """The text, or its beginning and the number of characters left out."""
    return text if len(text) <= length else f"{text[:length]} ... ({len(text) - length:,} more characters)"
