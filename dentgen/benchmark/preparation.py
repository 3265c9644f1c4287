"""Benchmark of preparation: units whose samples are prepared ahead of the engine, and all of them first, as ratios.

Both contestants make the same units in one process with the same engine, one right after the other, and take turns in
beginning. Their shards must be equal.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from dentgen.benchmark.build import enlarge_source
from dentgen.conditions.readers.source import list_shards
from dentgen.diffusion.canvas import Canvas, Sampled
from dentgen.diffusion.engine import DiffusionEngine
from dentgen.documents.units import Unit
from dentgen.errors import DeterminismError
from dentgen.generation.engines import start_engine
from dentgen.generation.generator import Generator, load_planned_generator, prompt_encoder
from dentgen.generation.threads import torch_threads
from dentgen.generation.unit import generate_unit
from dentgen.pipeline.plan import make_plan
from dentgen.shards.plan import Plan
from dentgen.spec.build import BuildSpec

AHEAD: Final = "ahead"
FIRST: Final = "first"


@dataclass(frozen=True, slots=True)
class _Cost:
    """Seconds, and seconds of processor time of all threads."""

    seconds: float
    processor: float


@dataclass(slots=True, eq=False)
class TimedSampler:
    """An engine's ``run`` that takes the time in which it waits for canvases.

    Attributes:
        engine: The engine.
        first: Whether all canvases are prepared before the first tick.
        waited: Seconds in which nothing was sampled because canvases were in preparation.
        seconds: Seconds of all calls.
    """

    engine: DiffusionEngine
    first: bool
    waited: float = 0.0
    seconds: float = 0.0

    def __call__(self, canvases: Iterable[Canvas]) -> Mapping[str, Sampled]:
        """Sample canvases."""
        began = time.perf_counter()
        timed = self._timed(canvases)
        sampled = self.engine.run(list(timed) if self.first else timed)
        self.seconds += time.perf_counter() - began
        return sampled

    def _timed(self, canvases: Iterable[Canvas]) -> Iterator[Canvas]:
        remaining = iter(canvases)
        while True:
            began = time.perf_counter()
            canvas = next(remaining, None)
            self.waited += time.perf_counter() - began
            if canvas is None:
                return
            yield canvas


def benchmark_preparation(
    spec: BuildSpec,
    work: str,
    rounds: int,
    *,
    log: Callable[[str], None],
    progress: Callable[[int, int], None],
) -> dict[str, Any]:
    """Measure both contestants.

    Args:
        spec: A build from WebDataset tars; its output is not used.
        work: Local folder for intermediate data; emptied first.
        rounds: Runs over all units.
        log: Called with a line after every round.
        progress: Called with finished and planned units.

    Returns:
        ``ratios``: ``ahead_over_first``, of samples per second, and ``cost_ahead_over_first``, of processor time per
        sample, which other programs do not disturb; ``wait_ahead`` and ``wait_first``, shares of the time of sampling
        in which slots waited for preparation. Medians over rounds. ``spread``, ``units``, ``rounds``.

    Raises:
        DeterminismError: If the shards differ.
    """
    spec = enlarge_source(spec, Path(work))
    found: list[dict[str, float]] = []
    with torch_threads(spec.engine.threads):
        plan = make_plan(spec)
        generator = load_planned_generator(plan)
        engine, units = start_engine(generator), len(plan.units)
        _made(plan, generator, plan.units[0], TimedSampler(engine, first=True))  # warm-up
        progress(0, rounds * units)
        for number in range(rounds):
            steps = partial(_report_step, progress, number * units, rounds * units)
            found.append(_round(plan, generator, engine, number, steps))
            log(f"round {number + 1} of {rounds}: " + ", ".join(f"{n} {v:.3f}" for n, v in found[-1].items()))
    values = {name: [each[name] for each in found] for name in found[0]}
    return {
        "ratios": {name: round(statistics.median(each), 3) for name, each in values.items()},
        "spread": {name: [round(min(each), 3), round(max(each), 3)] for name, each in values.items()},
        "units": units,
        "rounds": rounds,
    }


def _report_step(progress: Callable[[int, int], None], before: int, planned: int, done: int) -> None:
    progress(before + done, planned)


def _round(
    plan: Plan, generator: Generator, engine: DiffusionEngine, number: int, step: Callable[[int], None]
) -> dict[str, float]:
    """Every unit by both contestants, who take turns in beginning."""
    samplers = {AHEAD: TimedSampler(engine, first=False), FIRST: TimedSampler(engine, first=True)}
    costs = {name: _Cost(0.0, 0.0) for name in samplers}
    for place, unit in enumerate(plan.units, 1):
        shards: dict[str, bytes] = {}
        for name in sorted(samplers, reverse=bool((place + number) % 2)):
            cost, shards[name] = _made(plan, generator, unit, samplers[name])
            costs[name] = _Cost(costs[name].seconds + cost.seconds, costs[name].processor + cost.processor)
        if shards[AHEAD] != shards[FIRST]:
            raise DeterminismError(key=f"unit {unit.name}", found="two shards", expected="one")
        step(place)
    waits = {f"wait_{name}": sampler.waited / sampler.seconds for name, sampler in samplers.items()}
    ahead, first = costs[AHEAD], costs[FIRST]
    return {
        "ahead_over_first": first.seconds / ahead.seconds,
        "cost_ahead_over_first": ahead.processor / first.processor,
        **waits,
    }


def _made(plan: Plan, generator: Generator, unit: Unit, sampler: TimedSampler) -> tuple[_Cost, bytes]:
    """What a unit took, and its shard; no prompt has been embedded before."""
    (shard,) = (shard for shard in list_shards(plan.spec.source.path) if shard.name == unit.shard)
    fresh = replace(generator, prompts=prompt_encoder(plan.spec, generator.bundle))
    began, busy = time.perf_counter(), time.process_time()
    made = generate_unit(plan, fresh, unit, shard, sampler)
    return _Cost(time.perf_counter() - began, time.process_time() - busy), made.shard
