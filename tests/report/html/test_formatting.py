"""Numbers, sizes and times as the page shows them."""

from __future__ import annotations

import pytest

from dentgen.report.html.formatting import byte_size, clock, duration, moment, number, rate, share, shortened


def test_numbers_and_rates() -> None:
    assert [number(0), number(1234567), number(12.5, 1)] == ["0", "1,234,567", "12.5"]
    assert [rate(value) for value in (0, 0.0123, 0.1, 3.14159, 31.4159, 1234.5)] == [
        "0.00", "0.012", "0.10", "3.14", "31.4", "1,234",
    ]  # fmt: skip


def test_sizes_are_decimal() -> None:
    sizes = [byte_size(size) for size in (0, 999, 2_815_000, 999_999, 10**13)]
    assert sizes == ["0 Bytes", "999 Bytes", "2.81 MB", "1 MB", "10 TB"]


def test_durations_have_at_most_two_units() -> None:
    assert [duration(seconds) for seconds in (0.04, 1.5, 2, 14.2, 59.7, 3599.6, 3600)] == [
        "0 seconds", "1.5 seconds", "2 seconds", "14 seconds", "1 minute", "1 hour", "1 hour",
    ]  # fmt: skip
    assert [duration(seconds) for seconds in (5461, 86_399, 270_000)] == [
        "1 hour and 31 minutes", "1 day", "3 days and 3 hours",
    ]  # fmt: skip
    assert [clock(seconds) for seconds in (0.4, 5405, 90_000)] == ["0:00:00", "1:30:05", "1 day, 1:00:00"]


@pytest.mark.parametrize(
    ("part", "whole", "expected"),
    [
        (0, 5, "0 %"), (1, 3, "33.3 %"), (1, 10**6, "< 0.1 %"), (99_999, 100_000, "99.9 %"), (3, 3, "100 %"),
        (0, 0, "0 %"),
    ],
)  # fmt: skip
def test_shares_are_zero_and_all_only_exactly(part: int, whole: int, expected: str) -> None:
    assert share(part, whole) == expected


def test_moments_are_in_utc() -> None:
    assert moment(1_800_000_000.0) == "2027-01-15 08:00 UTC"


def test_shortened_text_tells_what_is_missing() -> None:
    assert shortened("abc", 3) == "abc"
    assert shortened("abcdef", 3) == "abc ... (3 more characters)"
