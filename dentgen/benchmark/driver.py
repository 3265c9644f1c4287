"""Benchmark of an elastic pool's driver: its processor time per unit and per actor, with units that take no time.

Actors, heartbeats, hand-outs and commit tasks are those of a build; the backend is instant and commits write nothing.
Units are handed out once all actors are ready, and what the driver spends on actors without work is measured before.
"""

from __future__ import annotations

import logging
import resource
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Final, overload

import numpy as np

from dentgen.benchmark.instant_backend import InstantBackend, commit_nothing
from dentgen.benchmark.overhead import sized
from dentgen.benchmark.shared_process import SharedProcesses
from dentgen.documents.units import Unit
from dentgen.errors import BuildError, SpecError
from dentgen.pipeline.actors.elastic import dispatcher
from dentgen.pipeline.actors.pool import ActorPool
from dentgen.pipeline.actors.watchdog import Watchdog
from dentgen.pipeline.actors.workers import Job, Workers, build_session
from dentgen.pipeline.plan import make_plan
from dentgen.pipeline.unit_outcome import UnitOutcome
from dentgen.shards.plan import BuildLocation, Plan
from dentgen.spec.build import BuildSpec

_LOG = logging.getLogger(__name__)

#: Points of a run's curve; the first tenth, while actors still start, is left out of the fit.
_POINTS: Final = 20
_SKIPPED: Final = _POINTS // 10
#: How long actors are idle before they get units.
_IDLE_S: Final = 10.0
#: Hundreds of processes that start on a few cores send no heartbeat for minutes, and nothing is wrong with them.
_SILENCE_S: Final = 900.0
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


class AllReady:
    """Lets a driver hand out units once all actors were ready for a while.

    Attributes:
        idle_share: Share of a processor that the driver took meanwhile.
        startup_seconds: Seconds until all were ready.
    """

    def __init__(self, actors: int, idle_seconds: float = _IDLE_S) -> None:
        """Wait for a number of actors."""
        self.idle_share = self.startup_seconds = 0.0
        self._actors, self._idle_seconds = actors, idle_seconds
        self._asked, self._since, self._cpu = time.perf_counter(), 0.0, 0.0
        self._open = False

    def __call__(self, pool: ActorPool) -> bool:
        """Whether units may be handed out."""
        if not self._open and sum(bool(member.node) for member in pool.members) == self._actors:
            self._look(time.perf_counter())
        return self._open

    def _look(self, now: float) -> None:
        if not self._since:
            self._since, self._cpu, self.startup_seconds = now, time.process_time(), now - self._asked
        elif now - self._since >= self._idle_seconds:
            self.idle_share = (time.process_time() - self._cpu) / (now - self._since)
            self._open = True


def benchmark_driver(
    spec: BuildSpec,
    work: str,
    actors: Sequence[int],
    units: Sequence[int],
    per_process: int = 1,
    *,
    log: Callable[[str], None],
    progress: Callable[[int, int], None],
) -> dict[str, Any]:
    """Measure the driver in runs of every number of actors and of units.

    Args:
        spec: A build; its source, output and actors are replaced.
        work: Local folder for intermediate data; emptied first.
        actors: Numbers of actors.
        units: Numbers of units.
        per_process: Actors in each process, of which one takes about 0.08 GB.
        log: Called with a line after every run.
        progress: Called with units done and planned, twenty times in every run.

    Returns:
        ``runs``, each with ``actors``, ``units``, the curve's ``points``, and the law that fits it, ``fixed_seconds`` +
        ``seconds_per_unit`` × units of the driver's processor; ``idle_share``, of a processor that it takes while the
        actors have no work, which is part of the slope; ``billion_samples_hours`` of the most units with the most
        actors, by samples per unit; ``memory_mb``, the driver's largest.

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
            with Watchdog(_SILENCE_S) as watchdog:  # one for all would miss actors that ended
                tell = partial(_tell, progress, done, planned)
                runs.append(_run(plan, number, ManyUnits(count), watchdog, per_process, tell))
            log(f"{number} actors, {count} units: {1e3 * runs[-1]['seconds_per_unit']:.2f} ms of the driver per unit")
            done += count
    largest = max(runs, key=lambda run: (run["units"], run["actors"]))
    hours = {size: _SAMPLES / size * largest["seconds_per_unit"] / 3600 for size in _SAMPLES_PER_UNIT}
    return {
        "runs": runs,
        "billion_samples_hours": {str(size): round(value, 2) for size, value in hours.items()},
        "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def _tell(progress: Callable[[int, int], None], done: int, planned: int, point: Point) -> None:
    """Say how far a run is: a million units take more than an hour."""
    progress(done + point.units, planned)
    _LOG.info("%d units after %.0f s, %.0f s of the processor", point.units, point.seconds, point.cpu_seconds)


def _run(
    plan: Plan, actors: int, units: ManyUnits, watchdog: Watchdog, per_process: int, tell: Callable[[Point], None]
) -> dict[str, Any]:
    settings = plan.spec.pipeline.model_copy(update={"actors": actors, "gpus_per_actor": None})
    plan = replace(plan, environment={**plan.environment, "device": "cpu"})  # instant actors need no GPU
    workers = Workers(settings=settings, backend=InstantBackend)
    job = Job(plan, units, BuildLocation.of(plan.spec), workers, watchdog.monitor)
    shared = SharedProcesses(actors, per_process, job.arguments).start if per_process > 1 else None
    making, ready = dispatcher(job, shared), AllReady(actors)
    making.commit, making.may_begin = commit_nothing, ready
    with closing(making.outcomes()) as outcomes:
        law = _law(actors, list(_points(outcomes, len(units), tell)))
    found = {"idle_share": round(ready.idle_share, 5), "startup_seconds": round(ready.startup_seconds, 1)}
    return {**law, **found, "per_process": per_process}


def _points(outcomes: Iterator[UnitOutcome], count: int, tell: Callable[[Point], None]) -> Iterator[Point]:
    marks = {round(count * part / _POINTS) for part in range(1, _POINTS + 1)}
    began, cpu = 0.0, 0.0
    for number, outcome in enumerate(outcomes, start=1):
        if outcome.error:
            raise BuildError(f"unit {outcome.unit:06d}: {outcome.error}")
        if number == 1:
            began, cpu = time.perf_counter(), time.process_time()
        if number in marks:
            point = Point(number, time.perf_counter() - began, time.process_time() - cpu)
            tell(point)
            yield point


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
