"""Benchmark of a build: how much of the engine's speed it keeps, and its gain over a naive baseline, as ratios.

Three contestants generate the same samples with the same networks in turn, for several rounds: the engine alone in one
thread, fed from memory; a build through Ray; the naive baseline of ``naive_build``.
"""

from __future__ import annotations

import shutil
import statistics
import tarfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dentgen.benchmark.engine.flops import count_networks
from dentgen.benchmark.naive_build import build_naively, check_naive
from dentgen.conditions.readers.source import list_shards, read_records
from dentgen.conditions.unit_records import read_unit
from dentgen.diffusion.engine import DiffusionEngine
from dentgen.errors import CanvasError, SpecError
from dentgen.generation.canvases import build_canvases
from dentgen.generation.engines import start_engine
from dentgen.generation.generator import Generator, load_generator
from dentgen.generation.requests import sample_requests
from dentgen.generation.threads import torch_threads
from dentgen.pipeline.actors.workers import build_session
from dentgen.pipeline.environment import environment
from dentgen.pipeline.plan import make_plan
from dentgen.pipeline.run import build
from dentgen.records import SampleRequest
from dentgen.shards.ledger import committed_units, read_ledgers
from dentgen.shards.tar import tar_bytes
from dentgen.spec.build import BuildSpec

#: Copies of the source's records under different keys, so that a round lasts long enough.
_COPIES: Final = 4


@dataclass(frozen=True, slots=True)
class Round:
    """One round.

    Attributes:
        engine, build, naive: Samples per second in steady state.
        startup_seconds: Start-up time of the build's actor.
        busy_share: Share of its time that the actor's engine was busy.
    """

    engine: float
    build: float
    naive: float
    startup_seconds: float
    busy_share: float

    def __str__(self) -> str:
        """One line for the log."""
        rates = f"engine {self.engine:.2f}, build {self.build:.2f}, naive {self.naive:.2f} samples/s"
        return f"{rates}; start-up {self.startup_seconds:.0f} s"


def benchmark_build(
    spec: BuildSpec,
    work: str,
    rounds: int,
    *,
    log: Callable[[str], None],
    progress: Callable[[int, int], None],
) -> dict[str, Any]:
    """Measure the three contestants.

    Args:
        spec: A build with segmentation and lighting from WebDataset tars, one actor, no guidance; its output is not
            used.
        work: Local folder for intermediate data; emptied first.
        rounds: Runs of every contestant.
        log: Called with a line after every round.
        progress: Called with finished and planned rounds.

    Returns:
        ``ratios`` (median over rounds), ``spread`` (lowest and highest), ``rounds``, ``flops`` (GFLOP per sample).

    Raises:
        SpecError: If the contestants cannot do the same work, or a round is too short to measure.
    """
    check_naive(spec)
    spec = enlarge_source(spec, Path(work))
    results: list[Round] = []
    progress(0, rounds)
    with build_session(spec):
        for number in range(rounds):
            results.append(_round(spec, Path(work), number))
            log(f"round {number + 1} of {rounds}: {results[-1]}")
            progress(number + 1, rounds)
    ratios = {
        "build_over_engine": [r.build / r.engine for r in results],
        "build_over_usual": [r.build / r.naive for r in results],
    }
    flops = count_flops(spec)
    return {
        "ratios": {
            **{name: round(statistics.median(values), 3) for name, values in ratios.items()},
            "predicted": {"build_over_engine": 1.0, "build_over_usual": round(flops["usual"] / flops["build"], 3)},
        },
        "spread": {name: [round(min(values), 3), round(max(values), 3)] for name, values in ratios.items()},
        "busy_share": round(statistics.median(r.busy_share for r in results), 3),
        "startup_seconds": round(statistics.median(r.startup_seconds for r in results), 1),
        "flops": flops,
        "rounds": rounds,
    }


def count_flops(spec: BuildSpec) -> dict[str, float]:
    """Count the networks' GFLOP per sample in a ``build`` and in the naive baseline (``usual``)."""
    generator = load_generator(spec)
    flops = count_networks(generator.bundle, spec.conditions.shape, *generator.prompts.shape)
    steps, shared = spec.sampling.steps, spec.control_slots / spec.engine.slots
    build = steps * (flops.unet + shared * flops.control) + flops.encode / spec.sampling.variants + flops.decode
    naive = steps * (flops.unet + flops.control) + flops.encode + flops.decode + flops.text
    return {"build": round(build, 3), "usual": round(naive, 3)}


def _round(spec: BuildSpec, work: Path, number: int) -> Round:
    engine = _engine_rate(spec)
    ours = with_output(spec, work / f"build-{number}")
    outcome = build(ours)
    naive = with_output(spec, work / f"naive-{number}")
    build_naively(naive, environment(spec), batch=spec.engine.slots)
    if not outcome.actors:
        raise SpecError("the build ended before its actor's first heartbeat", advice="use more records or variants")
    report = outcome.actors[0]
    return Round(
        engine=engine,
        build=build_rate(ours),
        naive=_naive_rate(naive),
        startup_seconds=report.startup_seconds or 0.0,
        busy_share=report.beat.busy_share,
    )


def _engine_rate(spec: BuildSpec) -> float:
    """Samples per second of the engine alone, fed from memory: the upper bound of one actor."""
    with torch_threads(spec.engine.threads):
        generator = load_generator(spec)
        engine = start_engine(generator)
        requests = _all_requests(generator)
        _sample(generator, engine, requests[: spec.engine.slots])  # warm-up
        began = time.perf_counter()
        _sample(generator, engine, requests)
        return len(requests) / (time.perf_counter() - began)


def _all_requests(generator: Generator) -> list[SampleRequest]:
    spec = generator.spec
    shards = {shard.name: shard for shard in list_shards(spec.source.path)}
    records = (record for unit in make_plan(spec).units for record in read_unit(spec, unit, shards[unit.shard])[0])
    return [request for record in records for request in sample_requests(generator, record)]


def _sample(generator: Generator, engine: DiffusionEngine, requests: Sequence[SampleRequest]) -> None:
    latents = []
    for result in engine.run(build_canvases(generator, requests)).values():
        if isinstance(result, CanvasError):
            raise result
        latents.append(result)
    generator.codec.decode(latents)


def build_rate(spec: BuildSpec) -> float:
    """Steady-state samples per second of a build, from the times of its commits."""
    records = read_ledgers(spec.output.path, sorted(committed_units(spec.output.path)))
    commits = sorted((record.timing.committed, record.written) for record in records if record.timing is not None)
    return _steady_rate(commits)


def _naive_rate(spec: BuildSpec) -> float:
    """The same of the naive baseline, from the modification times of its files."""
    commits = []
    for path in Path(spec.output.path).glob("*.tar"):
        with tarfile.open(path) as archive:
            commits.append((path.stat().st_mtime, sum(name.endswith(".json") for name in archive.getnames())))
    return _steady_rate(sorted(commits))


def _steady_rate(commits: Sequence[tuple[float, int]]) -> float:
    """Rate from (time, samples) of commits, between a quarter of the samples and the last: excludes start-up."""
    total, done = sum(samples for _, samples in commits), 0
    for moment, samples in commits:
        done += samples
        if done >= total / 4 and moment < commits[-1][0]:
            return (total - done) / (commits[-1][0] - moment)
    raise SpecError(
        "too few commits to measure a steady state",
        found=f"{total} samples in {len(commits)} commits",
        expected="commits at two times or more",
        advice="use more records or variants, or a smaller pipeline.samples_per_shard",
    )


def enlarge_source(spec: BuildSpec, work: Path) -> BuildSpec:
    """Write several copies of every record, one tar per copy, and return the spec over them."""
    folder = work / "conditions"
    shutil.rmtree(work, ignore_errors=True)
    folder.mkdir(parents=True)
    for copy in range(_COPIES):
        samples = (
            (f"copy{copy}-{raw.key}", raw.members)
            for shard in list_shards(spec.source.path)
            for raw in read_records(shard)
        )
        (folder / f"{copy}.tar").write_bytes(tar_bytes(samples))
    enlarged = spec.model_copy(update={"source": spec.source.model_copy(update={"path": str(folder)})})
    return with_output(enlarged, work / "plan")


def with_output(spec: BuildSpec, folder: Path) -> BuildSpec:
    """The spec with another place for its output."""
    return spec.model_copy(update={"output": spec.output.model_copy(update={"path": str(folder)})})
