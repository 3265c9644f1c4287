"""The benchmark of preparation: both contestants make the same shards, and their waits are taken apart."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dentgen.benchmark import preparation
from dentgen.benchmark.preparation import TimedSampler, benchmark_preparation
from dentgen.diffusion.canvas import Canvas
from dentgen.errors import DeterminismError
from tests.conftest import small_spec, write_tar


class _Slow:
    """Takes what it is given, and a time for each."""

    def run(self, canvases: Iterable[Any]) -> dict[str, Any]:
        taken: dict[str, Any] = {}
        for canvas in canvases:
            time.sleep(0.02)
            taken[canvas] = None
        return taken


@pytest.mark.parametrize("first", [False, True])
def test_only_what_nothing_is_sampled_in_counts_as_waiting(first: bool) -> None:
    def canvases() -> Iterator[Any]:
        for key in "abcde":
            time.sleep(0.01)
            yield key

    sampler = TimedSampler(_Slow(), first)  # type: ignore[arg-type]
    given: Iterable[Canvas] = canvases()
    assert list(sampler(given)) == list("abcde")
    assert 0.05 <= sampler.waited < sampler.seconds - 0.05


def spec_of(tmp_path: Path, members: dict[str, dict[str, bytes]]) -> Any:
    key = sorted(members)[0]
    write_tar(tmp_path / "conditions" / "a.tar", {key: members[key]})
    return small_spec(tmp_path / "conditions", tmp_path / "out", sampling={"steps": 1, "variants": 1})


@pytest.mark.slow
def test_both_make_the_same_units(tmp_path: Path, demo_members: dict[str, dict[str, bytes]]) -> None:
    lines, steps = list[str](), list[tuple[int, int]]()
    figures = benchmark_preparation(
        spec_of(tmp_path, demo_members), str(tmp_path / "work"), 1, log=lines.append,
        progress=lambda *step: steps.append(step),
    )  # fmt: skip
    names = {"ahead_over_first", "cost_ahead_over_first", "wait_ahead", "wait_first"}
    assert figures["ratios"].keys() == names == figures["spread"].keys()
    assert min(figures["ratios"]["ahead_over_first"], figures["ratios"]["cost_ahead_over_first"]) > 0
    assert 0 < figures["ratios"]["wait_ahead"] < 1
    assert (figures["units"], len(lines), steps[-1]) == (4, 1, (4, 4))


@pytest.mark.slow
def test_other_bytes_are_an_error(
    tmp_path: Path, demo_members: dict[str, dict[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = preparation._made

    def other(plan: Any, generator: Any, unit: Any, sampler: TimedSampler) -> tuple[Any, bytes]:
        cost, shard = made(plan, generator, unit, sampler)
        return cost, shard if sampler.first else shard[:-1]

    monkeypatch.setattr(preparation, "_made", other)
    with pytest.raises(DeterminismError) as caught:
        benchmark_preparation(
            spec_of(tmp_path, demo_members), str(tmp_path / "work"), 1, log=print, progress=lambda *_: None
        )
    assert caught.value.key.startswith("unit ")
