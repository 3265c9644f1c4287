"""How much of the engine's speed a build keeps, and what it gains over the usual way. Ratios, side by side, in one run.

Three contestants make the same samples with the same networks, one after the other, several rounds: the networks' work
alone in one thread, fed from memory; a build through Ray; the usual way. Refuses to report absolute speed as a result.
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
from dentgen.benchmark.naive_build import build_naively
from dentgen.conditions.readers.source import list_shards, read_records
from dentgen.conditions.unit_records import read_unit
from dentgen.diffusion.engine import DiffusionEngine
from dentgen.errors import CanvasError, SpecError
from dentgen.generation.canvases import build_canvases, sample_requests
from dentgen.generation.generator import Generator, load_generator, start_engine
from dentgen.pipeline.actors.dataset import build_session
from dentgen.pipeline.environment import environment
from dentgen.pipeline.plan import make_plan
from dentgen.pipeline.run import build
from dentgen.records import SampleRequest
from dentgen.shards.index import read_ledgers
from dentgen.shards.tar import tar_bytes
from dentgen.spec.build import BuildSpec

#: Copies of the source's records, under other names, so that a round lasts long enough.
_COPIES: Final = 4


@dataclass(frozen=True, slots=True)
class Round:
    """Samples per second in steady state, and what the build's first actor says of itself."""

    engine: float
    build: float
    usual: float
    startup_seconds: float
    busy_share: float


def benchmark_build(spec: BuildSpec, work: str, rounds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Measure.

    Args:
        spec: A build with segmentation and lighting from WebDataset tars, one actor, no guidance; its output is not
            used.
        work: Folder for what is made, emptied of earlier rounds.
        rounds: How often every contestant runs.
        say: Told after every round.

    Returns:
        ``ratios`` (median over rounds), ``spread`` (lowest and highest), ``rounds``, ``flops`` per sample.

    Raises:
        SpecError: If the contestants would not do the same work.
    """
    _check(spec)
    spec = _enlarged(spec, Path(work))
    found: list[Round] = []
    with build_session(spec):
        for number in range(rounds):
            found.append(_round(spec, Path(work), number))
            say(f"round {number + 1} of {rounds}: {found[-1]}")
    ratios = {
        "build_over_engine": [r.build / r.engine for r in found],
        "build_over_usual": [r.build / r.usual for r in found],
    }
    flops = count_flops(spec)
    return {
        "ratios": {
            **{name: round(statistics.median(values), 3) for name, values in ratios.items()},
            "predicted": {"build_over_engine": 1.0, "build_over_usual": round(flops["usual"] / flops["build"], 3)},
        },
        "spread": {name: [round(min(values), 3), round(max(values), 3)] for name, values in ratios.items()},
        "busy_share": round(statistics.median(r.busy_share for r in found), 3),
        "startup_seconds": round(statistics.median(r.startup_seconds for r in found), 1),
        "flops": flops,
        "rounds": rounds,
    }


def _check(spec: BuildSpec) -> None:
    """Refuse what the usual way here cannot do."""
    sampling, model = spec.sampling, spec.model
    if sampling.guidance_scale != 1 or spec.pipeline.actors != 1:
        raise SpecError("found guidance or several actors, expected sampling.guidance_scale 1 and pipeline.actors 1")
    if sampling.start_from != "noise" or sampling.prompt_to is not None or sampling.timesteps is not None:
        raise SpecError("found a way of sampling that the usual way lacks, expected text-to-image by number of steps")
    if len(model.adapters) != 1 or model.controlnets or model.decoder != "kl" or spec.conditions.combine != "blend":
        raise SpecError("found several controls or another decoder, expected one adapter and model.decoder kl")
    if spec.source.oversample:
        raise SpecError("found source.oversample, which the usual way lacks, expected none")
    if model.loras or model.embeddings:
        raise SpecError("found model.loras or model.embeddings, which the usual way lacks, expected none")


def count_flops(spec: BuildSpec) -> dict[str, float]:
    """GFLOP per sample of the networks: as a build calls them, and as the usual way does."""
    generator = load_generator(make_plan(spec))
    flops = count_networks(generator.bundle, spec.conditions.size, *generator.prompts.shape)
    steps, shared = spec.sampling.steps, spec.control_slots / spec.engine.slots
    build = steps * (flops.unet + shared * flops.control) + flops.encode / spec.sampling.variants + flops.decode
    usual = steps * (flops.unet + flops.control) + flops.encode + flops.decode + flops.text
    return {"build": round(build, 3), "usual": round(usual, 3)}


def _round(spec: BuildSpec, work: Path, number: int) -> Round:
    engine = _engine_rate(spec)
    out = _output(spec, work / f"build-{number}")
    outcome = build(out)
    usual = _output(spec, work / f"usual-{number}")
    build_naively(usual, environment(spec), batch=spec.engine.slots)
    if not outcome.actors:
        raise SpecError("the build ended before its actor was heard once, expected a longer one")
    report = outcome.actors[0]
    return Round(
        engine=engine,
        build=_build_rate(out),
        usual=_usual_rate(usual),
        startup_seconds=report.startup_seconds or 0.0,
        busy_share=report.beat.busy_share,
    )


def _engine_rate(spec: BuildSpec) -> float:
    """The networks' work of all units, fed from memory: what one actor could do if it had nothing else to do."""
    plan = make_plan(spec)
    generator = load_generator(plan)
    engine = start_engine(generator)
    shards = {shard.name: shard for shard in list_shards(spec.source.path)}
    requests = []
    for unit in plan.units:
        records, _ = read_unit(spec, unit, shards[unit.shard])
        requests += sample_requests(generator, unit, records)[0]
    few = requests[: spec.engine.slots]
    _sample(generator, engine, few)  # warm-up
    began = time.perf_counter()
    _sample(generator, engine, requests)
    return len(requests) / (time.perf_counter() - began)


def _sample(generator: Generator, engine: DiffusionEngine, requests: Sequence[SampleRequest]) -> None:
    sampled = engine.run(build_canvases(generator, requests)).values()
    failed = next((result for result in sampled if isinstance(result, CanvasError)), None)
    if failed is not None:
        raise failed
    generator.codec.decode([latents for latents in sampled if not isinstance(latents, CanvasError)])


def _build_rate(spec: BuildSpec) -> float:
    """Samples per second from the first commit to the last; what the first commits hold was made before."""
    records = read_ledgers(spec.output.path, make_plan(spec))
    commits = sorted((record.timing.committed, record.written) for record in records if record.timing is not None)
    return _steady_rate(commits)


def _usual_rate(spec: BuildSpec) -> float:
    """The same from the times of the files and the samples in them."""
    commits = []
    for path in Path(spec.output.path).glob("*.tar"):
        with tarfile.open(path) as archive:
            commits.append((path.stat().st_mtime, sum(name.endswith(".json") for name in archive.getnames())))
    return _steady_rate(sorted(commits))


def _steady_rate(commits: Sequence[tuple[float, int]]) -> float:
    """Rate between the commit at a quarter of the samples and the last one: start-up is not in it."""
    total, made = sum(samples for _, samples in commits), 0
    for moment, samples in commits:
        made += samples
        if made >= total / 4 and moment < commits[-1][0]:
            return (total - made) / (commits[-1][0] - moment)
    raise SpecError(f"found {total} samples, expected enough to measure a steady state")


def _enlarged(spec: BuildSpec, work: Path) -> BuildSpec:
    """The spec on a source with several copies of every record, one tar a copy."""
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
    return _output(enlarged, work / "plan")


def _output(spec: BuildSpec, folder: Path) -> BuildSpec:
    return spec.model_copy(update={"output": spec.output.model_copy(update={"path": str(folder)})})
