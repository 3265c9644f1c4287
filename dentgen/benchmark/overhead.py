"""Benchmark of the pipeline's overhead per unit, in builds of increasing size whose units take no time to generate.

Plan, Ray Data, actors, commits and seal are those of a real build; only the backend inside the actor is replaced.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final

from dentgen.benchmark.instant_backend import InstantBackend
from dentgen.errors import SpecError
from dentgen.pipeline.actors.workers import Workers, build_session
from dentgen.pipeline.make_units import make_units
from dentgen.pipeline.plan import adopt_plan, draft_plan
from dentgen.shards.index import seal
from dentgen.shards.lease import hold_lease
from dentgen.shards.ledger import read_ledgers
from dentgen.shards.plan import BuildLocation
from dentgen.shards.tar import tar_bytes
from dentgen.spec.build import BuildSpec

#: Condition records, hence units, per condition shard.
_PER_SHARD: Final = 1000


@dataclass(frozen=True, slots=True)
class Cost:
    """Cost of one build.

    Attributes:
        plan, make, seal: Seconds per unit to plan, between first and last commit, and to seal.
        startup: Seconds from planned to the first commit.
    """

    plan: float
    make: float
    seal: float
    startup: float

    def __str__(self) -> str:
        """One line for the log."""
        parts = f"plan {1000 * self.plan:.1f}, make {1000 * self.make:.1f}, seal {1000 * self.seal:.1f} ms per unit"
        return f"{parts}; first commit after {self.startup:.1f} s"


def benchmark_overhead(
    spec: BuildSpec,
    work: str,
    counts: Sequence[int],
    rounds: int,
    *,
    log: Callable[[str], None],
    progress: Callable[[int, int], None],
) -> dict[str, Any]:
    """Measure the seconds per unit of builds of several sizes; they should not grow with the number of units.

    Args:
        spec: A build; its source and output are replaced, and a unit holds one record in one variant.
        work: Local folder for intermediate data; emptied first.
        counts: Units per build, ascending.
        rounds: Repetitions; the cheapest counts, because other load on the machine only adds.
        log: Called with a line after every build.
        progress: Called with units done and planned, after every build.

    Returns:
        ``ratios``, seconds per unit of the largest build over those of each smaller one; ``seconds_per_unit`` and
        ``startup_seconds`` by size.

    Raises:
        SpecError: If there are not at least two sizes of two units or more.
    """
    if len(counts) < 2 or min(counts) < 2:
        raise SpecError(
            key="--units", found=", ".join(map(str, counts)), expected="at least two numbers, each 2 or more"
        )
    shutil.rmtree(work, ignore_errors=True)
    costs: dict[int, list[Cost]] = {count: [] for count in counts}
    done, planned = 0, rounds * sum(counts)
    progress(0, planned)
    with build_session(spec):
        for number, count in product(range(rounds), counts):
            costs[count].append(_cost(sized(spec, Path(work) / f"{count}-{number}", count)))
            log(f"round {number + 1} of {rounds}, {count} units: {costs[count][-1]}")
            done += count
            progress(done, planned)
    best = {
        count: {part: min(getattr(cost, part) for cost in builds) for part in ("plan", "make", "seal")}
        for count, builds in costs.items()
    }
    total = {count: sum(parts.values()) for count, parts in best.items()}
    return {
        "ratios": {f"{counts[-1]}_over_{count}": round(total[counts[-1]] / total[count], 3) for count in counts[:-1]},
        "seconds_per_unit": {
            str(count): {part: round(seconds, 6) for part, seconds in parts.items()} for count, parts in best.items()
        },
        "startup_seconds": {
            str(count): round(min(cost.startup for cost in builds), 1) for count, builds in costs.items()
        },
        "rounds": rounds,
    }


def sized(spec: BuildSpec, folder: Path, count: int) -> BuildSpec:
    """Write a source of ``count`` empty records and return the spec of a build with one unit per record."""
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
    plan = adopt_plan(out, draft_plan(spec))
    planned, started = time.perf_counter() - began, time.time()
    workers = Workers(settings=spec.pipeline, backend=InstantBackend)
    with hold_lease(out, spec.pipeline.lease_seconds) as lease:
        make_units(plan, plan.units, BuildLocation.of(spec), workers, lease)
    began = time.perf_counter()
    seal(out, plan)
    sealed = time.perf_counter() - began
    commits = sorted(
        record.timing.committed
        for record in read_ledgers(out, (unit.name for unit in plan.units))
        if record.timing is not None
    )
    count = len(plan.units)
    return Cost(
        plan=planned / count,
        make=(commits[-1] - commits[0]) / (count - 1),
        seal=sealed / count,
        startup=commits[0] - started,
    )
