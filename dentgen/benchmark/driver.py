"""Benchmark of an elastic pool's driver: its processor time per unit, by actors, with units that take no time.

Actors, heartbeats, hand-outs and commit tasks are those of a build; the backend is instant and commits write nothing.
"""

from __future__ import annotations

import resource
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, Final, overload

import numpy as np

from dentgen.benchmark.instant_backend import InstantBackend
from dentgen.benchmark.overhead import sized
from dentgen.documents import Unit
from dentgen.errors import BuildError, SpecError
from dentgen.logs import LogFormat
from dentgen.pipeline.actors.commit_stage import Claims
from dentgen.pipeline.actors.elastic import dispatcher
from dentgen.pipeline.actors.heartbeat import Watchdog
from dentgen.pipeline.actors.workers import Job, Workers, build_session
from dentgen.pipeline.plan import make_plan
from dentgen.pipeline.unit_outcome import UnitOutcome
from dentgen.shards.ledger import UnitResult
from dentgen.shards.plan import BuildLocation, Plan
from dentgen.spec.build import BuildSpec

#: Points of a run's curve; the first tenth, while actors still start, is left out of the fit.
_POINTS: Final = 20
_SKIPPED: Final = _POINTS // 10
#: Samples whose driver time is extrapolated, in units of each of these sizes.
_SAMPLES: Final = 10**9
_SAMPLES_PER_UNIT: Final = (64, 512)


class ManyUnits(Sequence[Unit]):
    """Units that are made when they are asked for, as a plan's are."""

    def __init__(self, number: int) -> None:
        """Units 0 to ``number``."""
        self._number = number

    def __len__(self) -> int:
        """Their number."""
        return self._number

    @overload
    def __getitem__(self, place: int) -> Unit: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Unit]: ...
    def __getitem__(self, place: int | slice) -> Unit | Sequence[Unit]:
        """One unit, or a list of units."""
        if isinstance(place, slice):
            return [self[number] for number in range(*place.indices(self._number))]
        if not 0 <= place < self._number:
            raise IndexError(place)
        return Unit(id=place, shard="a.tar", start=place, stop=place + 1, records=1, shard_bytes=1)


@dataclass(frozen=True, slots=True)
class Point:
    """A driver when it has collected a number of units: seconds since the first one, and its processor's seconds."""

    units: int
    seconds: float
    cpu_seconds: float


def commit_nothing(result: UnitResult, out: str, claims: Claims | None, log_format: LogFormat) -> UnitOutcome:
    """Commit a unit without writing it."""
    return UnitOutcome(result.record.unit, len(result.record.samples))


def benchmark_driver(
    spec: BuildSpec,
    work: str,
    actors: Sequence[int],
    units: Sequence[int],
    *,
    log: Callable[[str], None],
    progress: Callable[[int, int], None],
) -> dict[str, Any]:
    """Measure the driver in runs of every number of actors and of units.

    Args:
        spec: A build; its source, output and actors are replaced.
        work: Local folder for intermediate data; emptied first.
        actors: Numbers of actors, each a process of about 0.1 GB.
        units: Numbers of units.
        log: Called with a line after every run.
        progress: Called with units done and planned, after every run.

    Returns:
        ``runs``, each with ``actors``, ``units``, the curve's ``points``, and the law that fits it, ``fixed_seconds`` +
        ``seconds_per_unit`` × units of the driver's processor; ``billion_samples_hours`` of the most units with the
        most actors, by samples per unit; ``memory_mb``, the driver's largest.

    Raises:
        SpecError: If there are too few units for a curve.
    """
    if min(units) < 2 * _POINTS:
        raise SpecError(key="--units", found=", ".join(map(str, units)), expected=f"each {2 * _POINTS} or more")
    shutil.rmtree(work, ignore_errors=True)
    plan, runs = make_plan(sized(spec, Path(work), 1)), list[dict[str, Any]]()
    done, planned = 0, sum(units) * len(actors)
    with build_session(spec):
        for number, count in product(actors, units):
            with Watchdog(spec.pipeline.stall_seconds) as watchdog:  # one for all would miss actors that ended
                curve = _curve(plan, number, ManyUnits(count), watchdog)
            runs.append(_law(number, curve))
            log(f"{number} actors, {count} units: {1e3 * runs[-1]['seconds_per_unit']:.2f} ms of the driver per unit")
            done += count
            progress(done, planned)
    largest = max(runs, key=lambda run: (run["units"], run["actors"]))
    hours = {size: _SAMPLES / size * largest["seconds_per_unit"] / 3600 for size in _SAMPLES_PER_UNIT}
    return {
        "runs": runs,
        "billion_samples_hours": {str(size): round(value, 2) for size, value in hours.items()},
        "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def _curve(plan: Plan, actors: int, units: ManyUnits, watchdog: Watchdog) -> list[Point]:
    settings = plan.spec.pipeline.model_copy(update={"actors": actors, "gpus_per_actor": None})
    plan = replace(plan, environment={**plan.environment, "device": "cpu"})  # instant actors need no GPU
    workers = Workers(settings=settings, backend=InstantBackend)
    making = dispatcher(Job(plan, units, BuildLocation.of(plan.spec), workers, watchdog.monitor))
    making.commit = commit_nothing
    with closing(making.outcomes()) as outcomes:
        return list(_points(outcomes, len(units)))


def _points(outcomes: Iterator[UnitOutcome], count: int) -> Iterator[Point]:
    marks = {round(count * part / _POINTS) for part in range(1, _POINTS + 1)}
    began, cpu = 0.0, 0.0
    for number, outcome in enumerate(outcomes, start=1):
        if outcome.error:
            raise BuildError(f"unit {outcome.unit:06d}: {outcome.error}")
        if number == 1:
            began, cpu = time.perf_counter(), time.process_time()
        if number in marks:
            yield Point(number, time.perf_counter() - began, time.process_time() - cpu)


def _law(actors: int, points: Sequence[Point]) -> dict[str, Any]:
    """The straight line through a curve, and how far from it the curve is at most."""
    counts, seconds = (np.array([getattr(p, name) for p in points[_SKIPPED:]]) for name in ("units", "cpu_seconds"))
    slope, fixed = np.polyfit(counts, seconds, 1)
    worst = float(np.max(np.abs(seconds - slope * counts - fixed))) / float(seconds[-1])
    return {
        "actors": actors,
        "units": points[-1].units,
        "seconds": round(points[-1].seconds, 2),
        "fixed_seconds": round(float(fixed), 4),
        "seconds_per_unit": round(float(slope), 7),
        "worst_deviation": round(worst, 4),
        "points": [[p.units, round(p.seconds, 3), round(p.cpu_seconds, 4)] for p in points],
    }
