"""Expected size and duration of a build, measured on a few of its own samples on this machine."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import timedelta

from dentgen.conditions.readers.raw import ConditionShard
from dentgen.conditions.readers.source import list_shards
from dentgen.documents.units import Unit
from dentgen.generation.engines import start_engine
from dentgen.generation.generator import load_planned_generator
from dentgen.generation.threads import torch_threads
from dentgen.generation.unit import generate_unit
from dentgen.shards.plan import Plan


@dataclass(frozen=True, slots=True)
class Estimate:
    """Expected cost of a build.

    Attributes:
        probed: Samples generated to measure it.
        startup_seconds: Time to load and warm up the models, once per actor.
        seconds_per_sample: Time of one actor, from the second of two equal rounds.
        bytes_per_sample: Bytes in a shard.
    """

    probed: int
    startup_seconds: float
    seconds_per_sample: float
    bytes_per_sample: float

    def describe(self, samples: int, actors: int) -> str:
        """One line for the console."""
        duration = timedelta(seconds=round(self.seconds(samples, actors)))
        return (
            f"expected: {samples * self.bytes_per_sample / 1e6:.1f} MB and {duration} with {actors} actors, "
            f"measured on {self.probed} samples"
        )

    def hours(self, samples: int, actors: int = 1) -> float:
        """Hours of actors that are paid for in all: each loads its models once, and none waits for another."""
        return (actors * self.startup_seconds + samples * self.seconds_per_sample) / 3600

    def describe_cost(self, samples: int, actors: int, kind: str, price: float | None = None) -> list[str]:
        """Lines for the console: hours, and money, of this build and of a million samples.

        Args:
            samples: Samples of the build.
            actors: Its actors.
            kind: What an actor takes: "GPU" or "CPU".
            price: Money for an hour of one; None if it is not known.
        """
        own, million = self.hours(samples, actors), self.seconds_per_sample * 1e6 / 3600
        hours = [("this build", own), ("a million samples", million)]
        return [
            f"{name}: {value:.3g} {kind} hours"
            + ("" if price is None else f", {value * price:,.2f} at {price:g} an hour")
            for name, value in hours
        ]

    def seconds(self, samples: int, actors: int) -> float:
        """Expected time for ``samples``, if every actor has a processor of its own."""
        return self.startup_seconds + samples * self.seconds_per_sample / actors


def estimate(plan: Plan, source: str) -> Estimate | None:
    """Generate a few samples of the first readable unit twice and keep only the figures.

    Args:
        plan: The plan.
        source: Where its condition shards are.

    Returns:
        None if no sample could be made.
    """
    unit = next((unit for unit in plan.units if not unit.problem), None)
    if unit is None:
        return None
    shard = next(s for s in list_shards(source, plan.spec.source.format) if s.name == unit.shard)
    few = _beginning(unit, max(1, plan.spec.engine.slots // plan.spec.sampling.variants))
    with torch_threads(plan.spec.engine.threads):
        return _measure(plan, few, shard)


def _measure(plan: Plan, unit: Unit, shard: ConditionShard) -> Estimate | None:
    start = time.perf_counter()
    generator = load_planned_generator(plan)
    engine = start_engine(generator)
    startup = time.perf_counter() - start
    generate_unit(plan, generator, unit, shard, engine.run)  # warm-up
    start = time.perf_counter()
    record = generate_unit(plan, generator, unit, shard, engine.run).record
    seconds = time.perf_counter() - start
    if not record.written:
        return None
    return Estimate(record.written, startup, seconds / record.written, record.bytes / record.written)


def _beginning(unit: Unit, records: int) -> Unit:
    """The first records of a unit; the whole unit if it skips records of another split."""
    if unit.stop - unit.start != unit.records or unit.records <= records:
        return unit
    return replace(unit, stop=unit.start + records, records=records, repeats=unit.repeats[:records])
