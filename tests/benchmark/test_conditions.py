"""The benchmark of conditions, at the smallest size."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dentgen.benchmark.conditions import _experiment, _rate, benchmark_conditions


def test_ratios_by_hand() -> None:
    """One core prepares 120 records per second: half a core keeps up with 60 images of one variant."""
    found = _experiment(128, rendered=[1.0, 2.0, 4.0], prepared=[100.0, 120.0, 130.0])
    assert found["rendered_per_core_second"] == {"median": 2.0, "lowest": 1.0, "highest": 4.0}
    assert found["ratios"] == {
        "cores_that_prepare_for_60_pictures_a_second": 0.5,
        "with_4_variants_a_record": 0.12,
        "render_over_prepare": 60.0,
    }


def test_rates_count_records_over_process_time() -> None:
    def records() -> Iterator[int]:
        for number in range(3):
            sum(range(300_000))
            yield number

    assert 0 < _rate(records()) < 3 / 1e-3


@pytest.mark.slow
def test_every_size_is_rendered_and_prepared() -> None:
    done: list[tuple[int, int]] = []
    figures = benchmark_conditions([32, 48], 1, lambda *counts: done.append(counts))
    assert done == [(number, 4) for number in range(5)]
    assert [found["size"] for found in figures["experiments"]] == [32, 48]
    for found in figures["experiments"]:
        assert found["ratios"]["render_over_prepare"] > 1, "preparation is cheaper than rendering"
