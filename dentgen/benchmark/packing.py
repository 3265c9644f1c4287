"""Benchmark of packing: the share of its time that an engine works while slow packers encode units, as ratios.

Two contestants make the same units with the same engine and equally slow packers in turn, for several rounds: an
actor's backend as it is, and one whose engine takes no other unit until one is packed.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dentgen.benchmark.build import enlarge_source
from dentgen.documents.units import Unit
from dentgen.errors import SpecError
from dentgen.generation.threads import torch_threads
from dentgen.pipeline.actors.actor_work import UNITS_AT_ONCE
from dentgen.pipeline.actors.engine_backend import EngineBackend
from dentgen.pipeline.actors.heartbeat import Beat
from dentgen.pipeline.plan import make_plan
from dentgen.shards.ledger import UnitResult
from dentgen.shards.plan import BuildLocation, Plan
from dentgen.spec.build import BuildSpec

#: Time in which the packers pack a unit, over that in which the engine generates it: they keep up, but not for free.
_SLOWNESS: Final = 0.75
_FEWEST_UNITS: Final = 2 * UNITS_AT_ONCE
_ROUNDS_OF_SLOTS: Final = 2


class SlowPackers(ThreadPoolExecutor):
    """Packers that take a time for every sample in which they use no core, as if they had cores of their own."""

    def __init__(self, threads: int, seconds: float) -> None:
        """Start ``threads`` that take ``seconds`` a sample, besides encoding it."""
        super().__init__(threads)
        self._seconds = seconds

    def submit(self, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Submit work that is done later."""
        return super().submit(self._later, work, *args, **kwargs)

    def _later(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        time.sleep(self._seconds)
        return work(*args, **kwargs)


@dataclass(frozen=True, slots=True)
class Run:
    """One contestant's run, between its first tick and its last.

    Attributes:
        seconds: Duration.
        busy: Share of it in which the engine worked.
    """

    seconds: float
    busy: float


def benchmark_packing(
    spec: BuildSpec,
    work: str,
    rounds: int,
    packers: int,
    *,
    log: Callable[[str], None],
    progress: Callable[[int, int], None],
) -> dict[str, Any]:
    """Measure both contestants.

    Args:
        spec: A build from WebDataset tars; units are cut to two rounds of slots, and take turns with the engine.
        work: Local folder for intermediate data; emptied first.
        rounds: Runs of every contestant.
        packers: Threads that pack.
        log: Called with a line after every round.
        progress: Called with finished and planned rounds.

    Returns:
        ``ratios`` (medians over rounds): ``engine_busy``, ``engine_busy_locked``, and of the times ``locked_over_now``;
        ``predicted`` for the first two; ``spread`` (lowest and highest); ``rounds``.

    Raises:
        SpecError: If the source is too small.
    """
    plan, location = _planned(spec, Path(work), packers)
    runs: dict[str, list[Run]] = {"now": [], "locked": []}
    progress(0, rounds)
    with torch_threads(spec.engine.threads):
        seconds = packers * _SLOWNESS * _engine_seconds(plan, location) / plan.spec.pipeline.samples_per_shard
        for number in range(rounds):
            runs["now"].append(_run(plan, location, SlowPackers(packers, seconds), nullcontext()))
            runs["locked"].append(_run(plan, location, SlowPackers(packers, seconds), threading.Lock()))
            log(f"round {number + 1} of {rounds}: " + ", ".join(f"{n} {r[-1].busy:.1%} busy" for n, r in runs.items()))
            progress(number + 1, rounds)
    ratios = {
        "engine_busy": [run.busy for run in runs["now"]],
        "engine_busy_locked": [run.busy for run in runs["locked"]],
        "locked_over_now": [slow.seconds / fast.seconds for fast, slow in zip(*runs.values(), strict=True)],
    }
    predicted = {"engine_busy": 1.0, "engine_busy_locked": round(1 / (1 + _SLOWNESS), 3)}
    return {
        "ratios": {**{name: round(statistics.median(r), 3) for name, r in ratios.items()}, "predicted": predicted},
        "spread": {name: [round(min(r), 3), round(max(r), 3)] for name, r in ratios.items()},
        "rounds": rounds,
    }


def _planned(spec: BuildSpec, work: Path, packers: int) -> tuple[Plan, BuildLocation]:
    """A plan of units that fill the slots twice."""
    per_shard = _ROUNDS_OF_SLOTS * spec.engine.slots
    pipeline = spec.pipeline.model_copy(update={"samples_per_shard": per_shard, "packers": packers})
    engine = spec.engine.model_copy(update={"fill": "unit"})
    spec = enlarge_source(spec.model_copy(update={"pipeline": pipeline, "engine": engine}), work)
    plan = make_plan(spec)
    if len(plan.units) < _FEWEST_UNITS:
        raise SpecError(
            key="source.path", found=f"records for {len(plan.units)} units of {per_shard} samples",
            expected=f"for at least {_FEWEST_UNITS}", advice="use more records or variants, or fewer slots",
        )  # fmt: skip
    return plan, BuildLocation.of(spec)


def _engine_seconds(plan: Plan, location: BuildLocation) -> float:
    """Seconds of the engine's thread per unit."""
    backend = EngineBackend(plan, location)
    for unit in plan.units[:2]:
        backend.make(unit, crashes=0)
    return backend.describe(Beat("")).busy_seconds / 2


def _run(plan: Plan, location: BuildLocation, packers: SlowPackers, turn: AbstractContextManager[object]) -> Run:
    backend = EngineBackend(plan, location, packers)

    def make(unit: Unit) -> UnitResult:
        with turn:
            return backend.make(unit, crashes=0)

    with packers, ThreadPoolExecutor(UNITS_AT_ONCE) as callers:
        for _ in callers.map(make, plan.units):
            pass
    seconds, busy = backend.between_ticks
    return Run(seconds, busy / seconds)
