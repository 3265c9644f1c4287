"""One combination of slots, variants and decoder: contestants side by side over several rounds, and the bottleneck.

Figures that should hold on other machines are ratios; this machine's speeds accompany them.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch

from dentgen.benchmark.engine.bits import measure_bits
from dentgen.benchmark.engine.clock import Lap, Pieces, run_side_by_side, run_to_end, seconds_of
from dentgen.benchmark.engine.contestants import EngineContestant, NetworkContestant
from dentgen.benchmark.engine.flops import NetworkFlops, count_networks
from dentgen.benchmark.engine.machine import peak_memory_gib, reset_memory
from dentgen.benchmark.engine.pictures import compare_pictures
from dentgen.benchmark.engine.pipelines import PipelineContestant, Recipe
from dentgen.benchmark.engine.region_rows import measure_regions
from dentgen.benchmark.engine.work import Work, make_work
from dentgen.models.bundle import Bundle
from dentgen.spec.build import BuildSpec

DDIM_STEPS: Final = 20
DDIM_GUIDANCE: Final = 7.5
NEGATIVE_PROMPT: Final = "blurry, distorted"
_NETWORKS: Final = ("unet", "control", "encode", "decode", "text")
#: Networks called in each of the engine's stages.
_STAGES: Final = {"prepare": ("text", "encode"), "tick": ("control", "unet"), "decode": ("decode",)}
_LATENCY_RUNS: Final = 3


@dataclass(frozen=True, slots=True, eq=False)
class Contestants:
    """Warm contestants and their work: ``few`` images for the slow one, ``work`` for the others."""

    work: Work
    few: Work
    engine: EngineContestant
    networks: NetworkContestant
    batched: PipelineContestant
    ddim: PipelineContestant

    def starts(self) -> dict[str, Callable[[], Pieces]]:
        """Return a function per contestant that starts its run."""
        return {
            "engine": lambda: self.engine.pieces(self.work),
            "networks": lambda: self.networks.pieces(self.work),
            "diffusers_batched": lambda: self.batched.pieces(self.work),
            "diffusers_ddim20": lambda: self.ddim.pieces(self.few),
        }

    def pictures(self) -> dict[str, int]:
        """Return the images that every contestant generates per round."""
        count, few = len(self.work.requests), len(self.few.requests)
        return {"engine": count, "networks": count, "diffusers_batched": count, "diffusers_ddim20": few}


def run_experiment(
    spec: BuildSpec,
    bundle: Bundle,
    *,
    times: int,
    rounds: int,
    peak: float,
    log: Callable[[str], None],
    progress: Callable[[int], None],
    regions: Sequence[int] = (),
) -> dict[str, Any]:
    """Measure one combination.

    Args:
        spec: Its settings.
        bundle: Its networks.
        times: Images per slot and round.
        rounds: Runs of every contestant.
        peak: TFLOP/s of matrix multiplication on this machine.
        log: Called with a line after warm-up and after every round.
        progress: Called with the number of finished rounds.
        regions: Numbers of regions of a picture whose cost is measured as well.

    Raises:
        EngineError: If the contestants generate different images.
        OutOfMemoryError: If the engine's shape does not fit into the device's memory.
        SpecError: If the contestants cannot do the same work.
    """
    device = bundle.unet.device
    reset_memory(device)
    work = make_work(spec, bundle, times)
    engine = work.engine()
    report: dict[str, Any] = {"setting": _setting(work), "warm_up_seconds": {"engine": engine.warm_up()}}
    contestant = EngineContestant(engine)
    run_to_end(contestant.pieces(work.first(spec.engine.slots)))
    report["peak_memory_gib"] = peak_memory_gib(device)
    contestants, report["warm_up_seconds"]["others"] = _warm_up(work, contestant)
    report["pictures"] = compare_pictures(contestant.pictures, contestants.batched.pictures, bundle.unet.dtype)
    log("warmed up; all contestants generate the same images")
    laps = []
    for number in range(rounds):
        laps.append(_round(contestants, number, device))
        log(
            f"round {number + 1} of {rounds}: "
            + ", ".join(f"{name} {lap.total:.2f} s" for name, lap in laps[-1].items())
        )
        progress(number + 1)
    flops = count_networks(bundle, spec.conditions.shape, *work.generator.prompts.shape)
    if regions:
        report["regions"] = [measure_regions(work, count, rounds) for count in regions]
    return {**report, **_figures(contestants, laps, flops, peak), **_single_image(contestants, device)}


def _warm_up(work: Work, engine: EngineContestant) -> tuple[Contestants, float]:
    """Build the other contestants and warm each up with a short run; also the seconds that took."""
    slots, sampling = work.spec.engine.slots, work.spec.sampling
    assert isinstance(sampling.scheduler, str)
    few = work.first(max(1, slots // 2))
    plain = Recipe(sampling.scheduler, sampling.steps, slots)
    guided = Recipe("ddim", DDIM_STEPS, len(few.requests), DDIM_GUIDANCE, NEGATIVE_PROMPT)
    contestants = Contestants(
        work=work,
        few=few,
        engine=engine,
        networks=NetworkContestant.of(work),
        batched=PipelineContestant.of(work, plain),
        ddim=PipelineContestant.of(work, guided),
    )

    def run_once() -> None:
        run_to_end(contestants.networks.pieces(work.first(slots)))
        run_to_end(contestants.batched.pieces(work.first(slots)))
        run_to_end(contestants.ddim.pieces(few))

    return contestants, seconds_of(run_once, work.generator.bundle.unet.device)


def _round(contestants: Contestants, number: int, device: torch.device) -> dict[str, Lap]:
    """Run every contestant once, in reverse order in every other round."""
    starts = list(contestants.starts().items())[:: 1 if number % 2 == 0 else -1]
    return run_side_by_side({name: start() for name, start in starts}, device)


def _figures(
    contestants: Contestants, laps: Sequence[Mapping[str, Lap]], flops: NetworkFlops, peak: float
) -> dict[str, Any]:
    """Ratios with their spread, ratios predicted from FLOPs, shares of the engine's time, and absolute speeds."""
    pictures = contestants.pictures()
    rates = [{name: pictures[name] / lap.total for name, lap in lap_by_name.items()} for lap_by_name in laps]
    ratios = {f"engine_over_{name}": [r["engine"] / r[name] for r in rates] for name in pictures if name != "engine"}
    medians = {name: statistics.median(values) for name, values in ratios.items()}
    work = gflop_per_picture(contestants.work, flops)
    predicted = {f"engine_over_{name}": work[name] / work["engine"] for name in work if name != "engine"}
    speed = {name: statistics.median(rate[name] for rate in rates) for name in pictures}
    tflops = speed["engine"] * work["engine"] / 1000
    return {
        "ratios": {**medians, "predicted": predicted},
        "spread": {name: [min(values), max(values)] for name, values in ratios.items()},
        "of_predicted": {name: medians[name] / predicted[name] for name in predicted},
        "limits": _limits(laps),
        "images_per_second": speed,
        "unet_rows_per_second": speed["engine"] * contestants.work.generator.table.num_steps,
        "tflops": tflops,
        "share_of_matmul_peak": tflops / peak,
        "gflop_per_picture": work,
    }


def gflop_per_picture(work: Work, flops: NetworkFlops) -> dict[str, float]:
    """Count the GFLOP per image of every contestant but the bare networks."""
    sampling, engine, calls = work.spec.sampling, work.spec.engine, work.generator.table.num_steps
    shared = work.spec.control_slots / engine.slots
    per_record = (flops.encode + flops.text) / sampling.variants
    own = flops.encode + flops.decode
    return {
        "engine": calls * (flops.unet + shared * flops.control) + per_record + flops.decode,
        "diffusers_batched": calls * (flops.unet + flops.control) + own + flops.text,
        "diffusers_ddim20": DDIM_STEPS * 2 * (flops.unet + flops.control) + own + 2 * flops.text,
    }


def _limits(laps: Sequence[Mapping[str, Lap]]) -> dict[str, Any]:
    """Shares of the engine's time: the bare calls of every network, and the engine's overhead by stage."""

    def median(share: Callable[[Lap, Lap], float]) -> float:
        return statistics.median(share(by_name["engine"], by_name["networks"]) for by_name in laps)

    def bare(networks: Lap, kinds: Sequence[str]) -> float:
        return sum(networks.kinds.get(kind, 0.0) for kind in kinds)

    shares = {kind: median(lambda e, n, k=kind: bare(n, (k,)) / e.total) for kind in _NETWORKS}  # type: ignore[misc]
    stages = {
        stage: median(lambda e, n, s=stage: (e.kinds[s] - bare(n, _STAGES[s])) / e.total)  # type: ignore[misc]
        for stage in _STAGES
    }
    return {**shares, "overhead": median(lambda e, n: 1 - n.total / e.total), "overhead_by_stage": stages}


def _single_image(contestants: Contestants, device: torch.device) -> dict[str, Any]:
    """Latency of one image alone, in the full engine and in an engine with one slot, and whether its bits differ."""
    one, single = contestants.work.first(1), contestants.work.engine(1)
    single.warm_up()
    latency = {}
    for name, engine in (("in_all_slots", contestants.engine.engine), ("in_one_slot", single)):
        alone = EngineContestant(engine)
        run_to_end(alone.pieces(one))
        runs = [seconds_of(lambda: run_to_end(alone.pieces(one)), device) for _ in range(_LATENCY_RUNS)]  # noqa: B023
        latency[name] = 1000 * statistics.median(runs)
    return {"latency_ms": latency, "bits": measure_bits(contestants.work, contestants.engine.engine, single)}


def _setting(work: Work) -> dict[str, Any]:
    spec, unet = work.spec, work.generator.bundle.unet
    return {
        "model": spec.model.bundle,
        "device": unet.device.type,
        "dtype": str(unet.dtype).removeprefix("torch."),
        "size": spec.conditions.edge,
        "scheduler": spec.sampling.scheduler_name,
        "steps": spec.sampling.steps,
        "slots": spec.engine.slots,
        "control_slots": spec.control_slots,
        "variants": spec.sampling.variants,
        "decoder": spec.model.decoder,
        "compile": spec.engine.compile,
        "cuda_graph": spec.engine.cuda_graph,
        "threads": spec.engine.threads,
        "pictures": len(work.requests),
        "ddim20": f"{DDIM_STEPS} steps, guidance {DDIM_GUIDANCE}, {max(1, spec.engine.slots // 2)} images per call",
    }
