"""Numbers and times as people read them. Refuses to know where they come from."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

_BYTE_UNITS: Final = ("bytes", "kB", "MB", "GB", "TB", "PB")
_TIME_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def number(value: float) -> str:
    """Thousands apart; about three digits where a fraction matters."""
    if value == int(value) or value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def rate(value: float) -> str:
    """Per second: as many digits as mean something, the same number of them down a column."""
    if 0 < value < 0.1:
        return f"{value:#.2g}"
    return f"{value:,.{0 if value >= 100 else 1 if value >= 10 else 2}f}"


def byte_size(size: int) -> str:
    """Decimal units, as object stores bill them."""
    value, power = float(size), 0
    while value >= 999.5 and power < len(_BYTE_UNITS) - 1:
        value, power = value / 1000, power + 1
    return f"{number(value)} {_BYTE_UNITS[power]}"


def share(part: float, whole: float) -> str:
    """Per cent; what is there is never called zero."""
    percent = 100 * part / whole if whole else 0.0
    if 0 < percent < 0.1:
        return "< 0.1 %"
    rounded = f"{percent:.1f}".removesuffix(".0")
    return f"{'99.9' if rounded == '100' and part < whole else rounded} %"


def duration(seconds: float) -> str:
    """The two largest units that matter."""
    if seconds < 10:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    left = round(seconds)
    parts: list[str] = []
    for size, name in _TIME_UNITS:
        amount, left = divmod(left, size)
        if amount or parts:
            parts.append(f"{amount} {name}" if amount else "")
    return " ".join(part for part in parts[:2] if part)


def moment(unix_time: float) -> str:
    """A Unix time in UTC, to the minute."""
    return datetime.fromtimestamp(unix_time, UTC).strftime("%Y-%m-%d %H:%M UTC")


def shortened(text: str, length: int) -> str:
    """The text, or its beginning with the number of characters left out: a source may hold anything."""
    return text if len(text) <= length else f"{text[:length]} ... ({len(text) - length:,} more characters)"
