"""What a build will take: bytes and time, measured on a few of its own samples.

Refuses to guess: a figure comes from samples made here, by these models, on this machine.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta

from dentgen.conditions.readers.source import list_shards
from dentgen.documents import Unit
from dentgen.generation.generator import load_generator, start_engine
from dentgen.generation.unit import generate_unit
from dentgen.shards.plan import Plan
from dentgen.spec.build import BuildSpec


@dataclass(frozen=True, slots=True)
class Estimate:
    """Expected cost of a build.

    Attributes:
        probed: Samples that were made to measure it.
        startup_seconds: Loading of the models, once per actor.
        seconds_per_sample: Of one actor, by the second of two equal rounds.
        bytes_per_sample: In a shard.
    """

    probed: int
    startup_seconds: float
    seconds_per_sample: float
    bytes_per_sample: float

    def describe(self, samples: int, actors: int) -> str:
        """One line for people."""
        took = timedelta(seconds=round(self.seconds(samples, actors)))
        return (
            f"expected: {samples * self.bytes_per_sample / 1e6:.1f} MB and {took} with {actors} actors, "
            f"measured on {self.probed} samples made here"
        )

    def seconds(self, samples: int, actors: int) -> float:
        """Expected time for so many samples, where every actor has a processor of its own."""
        return self.startup_seconds + samples * self.seconds_per_sample / actors


def estimate(plan: Plan, spec: BuildSpec) -> Estimate | None:
    """Make a few samples of the first readable unit twice, and keep nothing but the figures.

    Returns:
        None if no sample could be made.
    """
    unit = next((unit for unit in plan.units if not unit.problem), None)
    if unit is None:
        return None
    began = time.perf_counter()
    generator = load_generator(plan)
    engine = start_engine(generator)
    startup = time.perf_counter() - began
    shard = next(s for s in list_shards(spec.source.path, spec.source.format) if s.name == unit.shard)
    few = _beginning(unit, max(1, spec.engine.slots // spec.sampling.variants))
    generate_unit(generator, few, shard, engine.run)  # warms up
    began = time.perf_counter()
    record = generate_unit(generator, few, shard, engine.run).record
    seconds = time.perf_counter() - began
    if not record.written:
        return None
    return Estimate(record.written, startup, seconds / record.written, record.bytes / record.written)


def _beginning(unit: Unit, records: int) -> Unit:
    """The first records of a unit, where no record is of another split; otherwise the whole unit."""
    if unit.stop - unit.start != unit.records or unit.records <= records:
        return unit
    cut = {"stop": unit.start + records, "records": records, "repeats": unit.repeats[:records]}
    return unit.model_copy(update=cut)
