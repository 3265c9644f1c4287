"""The lease: times that another machine can use."""

from __future__ import annotations

import math

import pytest
from pydantic import ValidationError

from dentgen.documents.lease import LeaseRecord, LiveFigures


@pytest.mark.parametrize("seconds", [0.0, -1.0, 86_401.0, math.inf])
def test_a_lease_ends_within_a_day(seconds: float) -> None:
    with pytest.raises(ValidationError) as caught:
        LeaseRecord(owner="o", host="h", process=1, process_started=0.0, since="", seconds=seconds)
    assert {error["loc"] for error in caught.value.errors()} == {("seconds",)}


def test_figures_of_a_running_build_are_read_as_they_were_written() -> None:
    lease = LeaseRecord(
        owner="o", host="h", process=1, process_started=0.0, since="", seconds=60, live=LiveFigures(samples=5, rate=2.5)
    )
    assert LeaseRecord.model_validate_json(lease.model_dump_json()) == lease
