"""The benchmark of packing: slow packers, with and without a lock around a whole unit."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dentgen.benchmark.packing import SlowPackers, benchmark_packing
from dentgen.errors import SpecError
from tests.conftest import small_spec, write_tar


def test_slow_packers_keep_the_order_and_take_their_time() -> None:
    with SlowPackers(2, 0.02) as packers:
        assert isinstance(packers, ThreadPoolExecutor)
        began = time.perf_counter()
        assert list(packers.map(abs, [-1, -2, -3, -4])) == [1, 2, 3, 4]
        assert time.perf_counter() - began >= 0.04


@pytest.mark.slow
def test_an_engine_that_packing_locks_waits_for_it(tmp_path: Path, demo_members: dict[str, dict[str, bytes]]) -> None:
    keys = sorted(demo_members)[:4]
    write_tar(tmp_path / "conditions" / "a.tar", {key: demo_members[key] for key in keys})
    spec = small_spec(tmp_path / "conditions", tmp_path / "out", engine={"slots": 2}, sampling={"steps": 2})
    lines, steps = list[str](), list[tuple[int, int]]()
    figures = benchmark_packing(
        spec, str(tmp_path / "work"), 1, 2, log=lines.append, progress=lambda *step: steps.append(step)
    )
    ratios = figures["ratios"]
    assert 0 < ratios["engine_busy_locked"] < ratios["engine_busy"] <= 1
    assert ratios["locked_over_now"] > 1
    assert figures["spread"].keys() == ratios.keys() - {"predicted"}
    assert (len(lines), steps) == (1, [(0, 1), (1, 1)])


def test_a_source_with_too_few_units_is_refused(tmp_path: Path, demo_members: dict[str, dict[str, bytes]]) -> None:
    key = sorted(demo_members)[0]
    write_tar(tmp_path / "conditions" / "a.tar", {key: demo_members[key]})
    spec = small_spec(tmp_path / "conditions", tmp_path / "out")
    with pytest.raises(SpecError) as caught:
        benchmark_packing(spec, str(tmp_path / "work"), 1, 2, log=print, progress=print)
    assert caught.value.key == "source.path"
