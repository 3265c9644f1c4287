"""What the pipeline itself costs: builds of more and more units whose making takes no time. Ratios: it must stay flat.

Plan, Ray Data, actor, commit and seal are those of a build; only what the engine would make is made up, in the actor.
Refuses to report absolute speed as a result.
"""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final

from dentgen.documents import LedgerRecord, SampleStatus, Unit, UnitTiming, sample_key
from dentgen.errors import SpecError
from dentgen.generation.unit import UnitResult
from dentgen.pipeline.actors.dataset import build_session
from dentgen.pipeline.actors.heartbeat import Beat
from dentgen.pipeline.plan import adopt_plan, make_plan
from dentgen.pipeline.run import make_units
from dentgen.shards.index import read_ledgers, seal
from dentgen.shards.lease import hold_lease
from dentgen.shards.ledger import digest_of
from dentgen.shards.plan import Plan
from dentgen.shards.tar import tar_bytes
from dentgen.spec.build import BuildSpec

#: Condition records, and so units, per condition shard.
_PER_SHARD: Final = 1000


class InstantWorkshop:
    """Makes a small tar of what a unit's name says."""

    takes_turns = False
    dead = False

    def __init__(self, plan: Plan) -> None:
        """Nothing is loaded."""
        self._plan = plan

    def make(self, unit: Unit, crashes: int) -> UnitResult:
        """One sample a unit."""
        started, key = time.time(), sample_key(f"unit-{unit.name}", 0)
        shard = tar_bytes([(key, {"txt": unit.name.encode()})])
        record = LedgerRecord(
            unit=unit.id,
            spec_digest=self._plan.spec_digest,
            bundle_digest=self._plan.bundle_digest,
            shard=f"{unit.name}.tar",
            bytes=len(shard),
            sha256=digest_of(shard),
            samples=(SampleStatus(key=key, source_key=f"unit-{unit.name}", variant=0, status="written"),),
            timing=UnitTiming(
                started=started, seconds=time.time() - started, worker=f"{platform.node()}:{os.getpid()}"
            ),
        )
        return UnitResult(shard, record)

    def describe(self, beat: Beat) -> Beat:
        """There is no engine."""
        return beat


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds per unit: to plan, from the first commit to the last, and to seal; seconds until the first commit."""

    plan: float
    make: float
    seal: float
    startup: float


def benchmark_pipeline(
    spec: BuildSpec, work: str, counts: Sequence[int], rounds: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """Measure.

    Args:
        spec: A build; its source and output are not used, and units hold one record in one variant.
        work: Folder for what is made, emptied before.
        counts: How many units the builds have, in ascending order.
        rounds: How often each is made; the cheapest one counts, because what else a machine does only adds.
        say: Told after every build.

    Returns:
        ``ratios``: seconds per unit of the largest build over those of each smaller one; ``seconds_per_unit`` by part.

    Raises:
        SpecError: If there is nothing to compare.
    """
    if len(counts) < 2 or counts[0] < 2:
        raise SpecError(f"found counts {list(counts)}, expected at least two builds of two units")
    shutil.rmtree(work, ignore_errors=True)
    costs: dict[int, list[Cost]] = {count: [] for count in counts}
    with build_session(spec):
        for number, count in product(range(rounds), counts):
            costs[count].append(_cost(_sized(spec, Path(work) / f"{count}-{number}", count)))
            say(f"round {number + 1} of {rounds}, {count} units: {costs[count][-1]}")
    best = {
        count: {part: min(getattr(cost, part) for cost in found) for part in ("plan", "make", "seal")}
        for count, found in costs.items()
    }
    whole = {count: sum(parts.values()) for count, parts in best.items()}
    return {
        "ratios": {f"{counts[-1]}_over_{count}": round(whole[counts[-1]] / whole[count], 3) for count in counts[:-1]},
        "seconds_per_unit": {
            str(count): {part: round(seconds, 6) for part, seconds in parts.items()} for count, parts in best.items()
        },
        "startup_seconds": {str(count): round(min(c.startup for c in found), 1) for count, found in costs.items()},
        "rounds": rounds,
    }


def _sized(spec: BuildSpec, folder: Path, count: int) -> BuildSpec:
    """A build of so many units, and its source: records that nobody looks into."""
    source = folder / "conditions"
    source.mkdir(parents=True)
    for first in range(0, count, _PER_SHARD):
        records = ((f"r{number}", {"json": b"{}"}) for number in range(first, min(first + _PER_SHARD, count)))
        (source / f"{first:09d}.tar").write_bytes(tar_bytes(records))
    return spec.model_copy(
        update={
            "source": spec.source.model_copy(update={"path": str(source), "limit": None, "split": None}),
            "output": spec.output.model_copy(update={"path": str(folder / "out")}),
            "sampling": spec.sampling.model_copy(update={"variants": 1}),
            "pipeline": spec.pipeline.model_copy(update={"samples_per_shard": 1}),
        }
    )


def _cost(spec: BuildSpec) -> Cost:
    out, began = spec.output.path, time.perf_counter()
    plan = adopt_plan(out, make_plan(spec))
    planned, made_from = time.perf_counter() - began, time.time()
    with hold_lease(out, spec.pipeline.lease_seconds) as lease:
        make_units(plan, plan.units, spec, lease, use_ray=True, backend=InstantWorkshop)
    began = time.perf_counter()
    seal(out, plan)
    sealed = time.perf_counter() - began
    commits = sorted(record.timing.committed for record in read_ledgers(out, plan) if record.timing is not None)
    count = len(plan.units)
    return Cost(
        plan=planned / count,
        make=(commits[-1] - commits[0]) / (count - 1),
        seal=sealed / count,
        startup=commits[0] - made_from,
    )
