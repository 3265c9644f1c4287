"""Throughput from the times in a ledger: every sample counts once, pauses do not count as work."""

from __future__ import annotations

from pathlib import Path

import pytest

from dentgen.documents.ledger import UnitTiming
from dentgen.report.html.speed import PAUSE, UnitSpan, measure_speed, merged, read_speed
from tests.report.fake_builds import START, fake_build, rejected, written


def test_every_sample_counts_once() -> None:
    spans = [UnitSpan(f"w{n % 2}", START + 7 * n, START + 7 * n + 10, 5) for n in range(30)]
    spans += [UnitSpan("w0", START + 5000 + n, START + 5001 + n, 4) for n in range(10)]
    speed = measure_speed(spans[::-1])
    assert [(run.units, run.samples) for run in speed.runs] == [(30, 150), (10, 40)]
    assert (speed.wall, speed.working) == (5010.0, 213.0 + 10.0)
    assert speed.samples == 190
    assert speed.rate == pytest.approx(190 / 223)
    for run, curve in zip(speed.runs, speed.curves, strict=True):
        steps = [rate for _, rate in curve[1:-1]]
        assert sum(steps) * run.seconds / len(steps) == pytest.approx(run.samples)
    assert speed.peak == max(rate for curve in speed.curves for _, rate in curve)
    assert speed.curves[1][0][0] == pytest.approx(213.0), "the pause is cut out"


def test_busy_time_of_overlapping_units_counts_once() -> None:
    spans = [UnitSpan("a", START, START + 10, 3), UnitSpan("a", START + 5, START + 12, 3)]
    spans.append(UnitSpan("b", START, START + 4, 9))
    first, second = measure_speed(spans).workers
    assert (first.worker, first.units, first.samples, first.busy) == ("b", 1, 9, 4.0)
    assert (second.worker, second.units, second.samples, second.busy) == ("a", 2, 6, 12.0)
    assert second.rate == 0.5


def test_merged_intervals() -> None:
    intervals = [(0.0, 10.0), (2.0, 3.0), (11.0, 12.0), (20.0, 21.0)]
    assert merged(intervals, 0.0) == intervals[:1] + intervals[2:]
    assert merged(intervals, 1.0) == [(0.0, 12.0), (20.0, 21.0)]


def test_pause_begins_above_its_threshold() -> None:
    for gap, runs in ((PAUSE, 1), (PAUSE + 1, 2)):
        speed = measure_speed([UnitSpan("a", 0, 1, 1), UnitSpan("a", 1 + gap, 2 + gap, 1)])
        assert len(speed.runs) == runs
        assert speed.runs[-1].pause == (gap if runs == 2 else 0)


def test_times_are_read_from_the_ledger(tmp_path: Path) -> None:
    timings = [
        UnitTiming(started=START, seconds=2.0, committed=START + 3, worker="vm:1"),
        None,
        UnitTiming(started=START + 1, seconds=2.0, worker="vm:2"),
    ]
    speed = read_speed(str(tmp_path), fake_build(tmp_path, [written(0), written(1), rejected(2, "no map")], timings))
    assert speed is not None
    assert (speed.untimed, speed.samples, speed.wall) == (1, 2, 3.0)
    assert [worker.worker for worker in speed.workers] == ["vm:1", "vm:2"]


def test_ledger_without_times_has_no_speed(tmp_path: Path) -> None:
    assert read_speed(str(tmp_path), fake_build(tmp_path, [written(0)])) is None


def test_clock_that_was_set_back_gives_no_negative_time(tmp_path: Path) -> None:
    timing = UnitTiming(started=START, seconds=-3.0, committed=START - 3600, worker="vm:1")
    speed = read_speed(str(tmp_path), fake_build(tmp_path, [written(0)], [timing]))
    assert speed is not None
    assert (speed.working, speed.rate, speed.workers[0].busy, speed.workers[0].rate) == (0.0, 0.0, 0.0, 0.0)
