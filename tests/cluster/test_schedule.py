"""Cron expressions and time zones, as Kubernetes takes them."""

from __future__ import annotations

import pytest

from dentgen.cluster.schedule import require_schedule, require_time_zone
from dentgen.errors import SpecError


@pytest.mark.parametrize("text", [
    "0 3 * * *", "*/15 * * * *", "0 0-6/2 1,15 * mon-fri", "59 23 31 12 6", "0 0 1 jan *", "0 0 ? * SUN", "@daily",
    "@hourly", "5,10-20/5 4 * FEB,mar 0",
])  # fmt: skip
def test_schedules_are_taken(text: str) -> None:
    require_schedule(text)


@pytest.mark.parametrize(("text", "field"), [
    ("60 3 * * *", "minute"),
    ("0 24 * * *", "hour"),
    ("0 0 0 * *", "day of the month"),
    ("0 0 32 * *", "day of the month"),
    ("0 0 * 13 *", "month"),
    ("0 0 * * 7", "day of the week"),
    ("0 0 * * monday", "day of the week"),
    ("*/0 * * * *", "minute"),
    ("10-5 * * * *", "minute"),
    ("1, * * * *", "minute"),
    ("*-5 * * * *", "minute"),
    ("1-2-3 * * * *", "minute"),
    ("٣ * * * *", "minute"),
])  # fmt: skip
def test_a_wrong_field_is_named(text: str, field: str) -> None:
    with pytest.raises(SpecError) as error:
        require_schedule(text)
    assert error.value.key == f"--schedule, {field}"
    assert error.value.found in text.split()


@pytest.mark.parametrize("text", ["", "0 3 * *", "0 0 3 * * *", "@often", "daily", "every day"])
def test_what_has_not_five_fields_is_refused(text: str) -> None:
    with pytest.raises(SpecError) as error:
        require_schedule(text)
    assert (error.value.key, error.value.found) == ("--schedule", text)


def test_time_zones() -> None:
    require_time_zone("Etc/UTC")
    require_time_zone("Europe/Berlin")
    with pytest.raises(SpecError) as error:
        require_time_zone("CEST/Berlin")
    assert (error.value.key, error.value.found) == ("--time-zone", "CEST/Berlin")
