"""One combination of slots, variants and decoder: contestants side by side over several rounds, and what bounds them.

Every figure that should hold elsewhere is a ratio; speeds of this machine stand beside them. Refuses to know files and
other combinations.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch

from dentgen.benchmark.engine.bits import measure_bits
from dentgen.benchmark.engine.clock import Lap, Pieces, run_out, run_side_by_side, seconds_of
from dentgen.benchmark.engine.contestants import EngineContestant, NetworkContestant
from dentgen.benchmark.engine.flops import NetworkFlops, count_networks
from dentgen.benchmark.engine.machine import forget_memory, peak_memory_gib
from dentgen.benchmark.engine.pictures import compare_pictures
from dentgen.benchmark.engine.pipelines import PipelineContestant, Recipe
from dentgen.benchmark.engine.work import Work, make_work
from dentgen.models.bundle import Bundle
from dentgen.spec.build import BuildSpec

DDIM_STEPS: Final = 20
DDIM_GUIDANCE: Final = 7.5
NEGATIVE_PROMPT: Final = "blurry, distorted"
_NETWORKS: Final = ("unet", "control", "encode", "decode", "text")
#: What the engine's pieces of one kind call.
_STAGES: Final = {"prepare": ("text", "encode"), "tick": ("control", "unet"), "decode": ("decode",)}
_LATENCY_RUNS: Final = 3


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """Warm contestants with the work of each."""

    work: Work
    few: Work
    engine: EngineContestant
    networks: NetworkContestant
    batched: PipelineContestant
    ddim: PipelineContestant

    def starts(self) -> dict[str, Callable[[], Pieces]]:
        """Every contestant at its beginning, by name."""
        return {
            "engine": lambda: self.engine.pieces(self.work),
            "networks": lambda: self.networks.pieces(self.work),
            "diffusers_batched": lambda: self.batched.pieces(self.work),
            "diffusers_ddim20": lambda: self.ddim.pieces(self.few),
        }

    def pictures(self) -> dict[str, int]:
        """Pictures that every contestant makes in a round."""
        whole, few = len(self.work.requests), len(self.few.requests)
        return {"engine": whole, "networks": whole, "diffusers_batched": whole, "diffusers_ddim20": few}


def run_experiment(
    spec: BuildSpec, bundle: Bundle, *, times: int, rounds: int, peak: float, say: Callable[[str], None]
) -> dict[str, Any]:
    """Measure one combination.

    Args:
        spec: Its settings.
        bundle: Its networks.
        times: Pictures per slot and round.
        rounds: How often every contestant runs.
        peak: TFLOP/s of this machine's matrix products.
        say: Told how it goes.

    Raises:
        EngineError: If the contestants make different pictures.
        OutOfMemoryError: If the engine's shape does not fit into the device's memory.
        SpecError: If the contestants would not do the same work.
    """
    device = bundle.unet.device
    forget_memory(device)
    work = make_work(spec, bundle, times)
    engine = work.engine()
    report: dict[str, Any] = {"setting": _setting(work), "warm_up_seconds": {"engine": engine.warm_up()}}
    contestant = EngineContestant(engine)
    run_out(contestant.pieces(work.first(spec.engine.slots)))
    report["peak_memory_gib"] = peak_memory_gib(device)
    field, report["warm_up_seconds"]["others"] = _warm(work, contestant)
    report["pictures"] = compare_pictures(contestant.pictures, field.batched.pictures, bundle.unet.dtype)
    say("all warm, same pictures")
    laps = _rounds(field, rounds, device, say)
    flops = count_networks(bundle, spec.conditions.size, *work.generator.prompts.shape)
    return {**report, **_figures(field, laps, flops, peak), **_of_one(field, device)}


def _warm(work: Work, engine: EngineContestant) -> tuple[Field, float]:
    """The other contestants, each warmed up by a first run, and how long that took."""
    slots, sampling = work.spec.engine.slots, work.spec.sampling
    assert isinstance(sampling.scheduler, str)
    few = work.first(max(1, slots // 2))
    plain = Recipe(sampling.scheduler, sampling.steps, slots)
    guided = Recipe("ddim", DDIM_STEPS, len(few.requests), DDIM_GUIDANCE, NEGATIVE_PROMPT)
    field = Field(
        work=work,
        few=few,
        engine=engine,
        networks=NetworkContestant.of(work),
        batched=PipelineContestant.of(work, plain),
        ddim=PipelineContestant.of(work, guided),
    )

    def run_once() -> None:
        run_out(field.networks.pieces(work.first(slots)))
        run_out(field.batched.pieces(work.first(slots)))
        run_out(field.ddim.pieces(few))

    return field, seconds_of(run_once, work.generator.bundle.unet.device)


def _rounds(field: Field, rounds: int, device: torch.device, say: Callable[[str], None]) -> list[dict[str, Lap]]:
    """Every other round in the other order."""
    found = []
    for number in range(rounds):
        starts = list(field.starts().items())[:: 1 if number % 2 == 0 else -1]
        laps = run_side_by_side({name: start() for name, start in starts}, device)
        say(f"round {number + 1} of {rounds}: " + ", ".join(f"{name} {lap.total:.2f} s" for name, lap in laps.items()))
        found.append(laps)
    return found


def _figures(field: Field, laps: Sequence[Mapping[str, Lap]], flops: NetworkFlops, peak: float) -> dict[str, Any]:
    """Ratios with their spread, what counting predicts, limits and speeds by the contestants' own clock."""
    pictures = field.pictures()
    rates = [{name: pictures[name] / lap.total for name, lap in lap_by_name.items()} for lap_by_name in laps]
    ratios = {f"engine_over_{name}": [r["engine"] / r[name] for r in rates] for name in pictures if name != "engine"}
    medians = {name: statistics.median(values) for name, values in ratios.items()}
    work = gflop_per_picture(field.work, flops)
    predicted = {f"engine_over_{name}": work[name] / work["engine"] for name in work if name != "engine"}
    speed = {name: statistics.median(rate[name] for rate in rates) for name in pictures}
    tflops = speed["engine"] * work["engine"] / 1000
    return {
        "ratios": {**medians, "predicted": predicted},
        "spread": {name: [min(values), max(values)] for name, values in ratios.items()},
        "of_predicted": {name: medians[name] / predicted[name] for name in predicted},
        "limits": _limits(laps),
        "images_per_second": speed,
        "unet_rows_per_second": speed["engine"] * field.work.generator.table.num_steps,
        "tflops": tflops,
        "share_of_matmul_peak": tflops / peak,
        "gflop_per_picture": work,
    }


def gflop_per_picture(work: Work, flops: NetworkFlops) -> dict[str, float]:
    """What every contestant but the bare networks has to compute for a picture."""
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
    """Shares of the engine's time: every network by its bare calls, and what the engine adds, by stage."""

    def median(of: Callable[[Lap, Lap], float]) -> float:
        return statistics.median(of(by_name["engine"], by_name["networks"]) for by_name in laps)

    def bare(networks: Lap, kinds: Sequence[str]) -> float:
        return sum(networks.kinds.get(kind, 0.0) for kind in kinds)

    shares = {kind: median(lambda e, n, k=kind: bare(n, (k,)) / e.total) for kind in _NETWORKS}  # type: ignore[misc]
    stages = {
        stage: median(lambda e, n, s=stage: (e.kinds[s] - bare(n, _STAGES[s])) / e.total)  # type: ignore[misc]
        for stage in _STAGES
    }
    return {**shares, "overhead": median(lambda e, n: 1 - n.total / e.total), "overhead_by_stage": stages}


def _of_one(field: Field, device: torch.device) -> dict[str, Any]:
    """Latency of a picture alone, in the engine's slots and in one of its own, and whether its bits differ."""
    one, single = field.work.first(1), field.work.engine(1)
    single.warm_up()
    latency = {}
    for name, engine in (("in_all_slots", field.engine.engine), ("in_one_slot", single)):
        alone = EngineContestant(engine)
        run_out(alone.pieces(one))
        runs = [seconds_of(lambda: run_out(alone.pieces(one)), device) for _ in range(_LATENCY_RUNS)]  # noqa: B023
        latency[name] = 1000 * statistics.median(runs)
    return {"latency_ms": latency, "bits": measure_bits(field.work, field.engine.engine, single)}


def _setting(work: Work) -> dict[str, Any]:
    spec, unet = work.spec, work.generator.bundle.unet
    return {
        "model": spec.model.bundle,
        "device": unet.device.type,
        "dtype": str(unet.dtype).removeprefix("torch."),
        "size": spec.conditions.size,
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
        "ddim20": f"{DDIM_STEPS} steps, guidance {DDIM_GUIDANCE}, {max(1, spec.engine.slots // 2)} pictures a call",
    }
