"""The slot probe: real rates of the miniature, and the smallest number of slots that is nearly the fastest."""

from __future__ import annotations

from pathlib import Path

import pytest

from dentgen.generation.generator import load_generator
from dentgen.pipeline.slot_probe import SlotRate, advised_slots, probe_slots
from tests.conftest import small_spec


@pytest.mark.parametrize(
    ("rates", "advised"),
    [
        ({1: 10.0, 2: 19.0, 4: 20.0, 8: 20.5}, 4),
        ({1: 20.0, 2: 20.5, 4: 20.1}, 1),
        ({1: 1.0, 2: 2.0, 4: 0.0}, 2),
        ({2: 0.0}, 0),
    ],
)
def test_the_fewest_slots_within_three_percent_are_advised(rates: dict[int, float], advised: int) -> None:
    assert advised_slots([SlotRate(slots, rate, 0) for slots, rate in rates.items()]) == advised


@pytest.mark.slow
def test_rates_of_doubling_slots_are_measured(tmp_path: Path) -> None:
    generator = load_generator(small_spec(tmp_path, tmp_path))
    rates = list(probe_slots(generator, 3))
    assert [rate.slots for rate in rates] == [1, 2]
    assert all(rate.rows_per_second > 0 for rate in rates)


@pytest.mark.integration
def test_guidance_needs_two_rows_to_start_with(tmp_path: Path) -> None:
    generator = load_generator(small_spec(tmp_path, tmp_path, sampling={"guidance_scale": 2.0}))
    assert [rate.slots for rate in probe_slots(generator, 2)] == [2]


def test_a_rate_is_one_line() -> None:
    assert "12.5 rows/s" in str(SlotRate(8, 12.5, 0))
    assert "3.00 GiB" in str(SlotRate(8, 12.5, 3 * 2**30))
    assert "rows/s" not in str(SlotRate(8, 0.0, 0)), "it did not fit"
