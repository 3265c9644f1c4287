"""What regions cost: counted operations and time of pictures with R regions, beside plain ones and the usual loop.

The usual loop is that of MultiDiffusion (Bar-Tal et al. 2023, https://arxiv.org/abs/2302.08113, algorithm 1) with the
averaging of StreamMultiDiffusion (Lee et al. 2024, https://arxiv.org/abs/2403.09055, section 3): one picture after the
other, at every step one call of the control net and of the UNet for each region and for the background, a mean of their
predictions weighted by masks, then the scheduler's own step.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor

from dentgen.benchmark.engine.clock import Pieces, run_side_by_side, run_to_end
from dentgen.benchmark.engine.work import Work, synthetic_record
from dentgen.diffusion.canvas import Canvas, Finished
from dentgen.diffusion.engine import DiffusionEngine
from dentgen.diffusion.keyed_tensor import KeyedTensor
from dentgen.diffusion.regions import Layers, Region
from dentgen.errors import EngineError, SpecError
from dentgen.generation.canvases import build_canvases
from dentgen.generation.engines import build_engine
from dentgen.generation.requests import sample_requests
from dentgen.models.control import control_residuals
from dentgen.models.flops import gflop
from dentgen.models.pruning import fitting_residuals
from dentgen.models.schedulers import make_scheduler
from dentgen.models.text import prompt_name

#: Largest relative difference of latents between contestants in float32.
_TOLERANCE: Final = 1e-2


@dataclass(slots=True, eq=False)
class Rows:
    """An engine and canvases that fill all of its slots.

    Attributes:
        engine: The engine.
        canvases: The canvases.
        latents: Latents of the last run, by key.
    """

    engine: DiffusionEngine
    canvases: Sequence[Canvas]
    latents: dict[str, Tensor] = field(default_factory=dict)

    def pieces(self) -> Pieces:
        """Sample the canvases, a tick at a time."""
        for canvas in self.canvases:
            self.engine.submit(canvas)
        self.latents = {}
        while not self.engine.idle:
            for outcome in self.engine.tick():
                if not isinstance(outcome, Finished):
                    raise outcome.error
                self.latents[outcome.key] = outcome.latents
            yield "tick"


@dataclass(slots=True, eq=False)
class UsualLoop:
    """One network call for each region of each picture at each step, with the scheduler itself.

    Attributes:
        work: Networks and settings.
        canvases: The pictures, of which noise, prompts, masks and condition are read.
        latents: Latents of the last run, by key.
    """

    work: Work
    canvases: Sequence[Canvas]
    latents: dict[str, Tensor] = field(default_factory=dict)

    def pieces(self) -> Pieces:
        """Sample the pictures, a step at a time."""
        spec, bundle = self.work.spec, self.work.generator.bundle
        self.latents = {}
        for canvas in self.canvases:
            scheduler = make_scheduler(spec.sampling.scheduler, bundle.folder)
            scheduler.set_timesteps(spec.sampling.steps)
            shape = (4, self.work.latent_size, self.work.latent_size)
            latents = canvas.noise.normal("initial", 0, shape)[None].to(bundle.unet.device)
            latents = latents * scheduler.init_noise_sigma
            for timestep in scheduler.timesteps:
                with torch.no_grad():
                    mean = self._mean_prediction(canvas, scheduler.scale_model_input(latents, timestep), timestep)
                    latents = scheduler.step(mean, timestep, latents, return_dict=False)[0]
                yield "step"
            self.latents[canvas.key] = latents[0]

    def _mean_prediction(self, canvas: Canvas, latents: Tensor, timestep: Tensor) -> Tensor:
        """Predictions of all prompts, weighted by masks; the background has what they leave."""
        masks = [region.mask.to(latents.device) for region in canvas.layers.regions]
        prompts = [canvas.prompt, *(region.prompt for region in canvas.layers.regions)]
        cover = torch.stack(masks).sum(0) if masks else torch.zeros(latents.shape[-2:], device=latents.device)
        weights = [(1 - cover).clamp(min=0), *(mask / cover.clamp(min=1) for mask in masks)]
        return sum(
            (weight * self._predicted(canvas, prompt, latents, timestep)
             for weight, prompt in zip(weights, prompts, strict=True)),
            start=torch.zeros_like(latents),
        )  # fmt: skip

    def _predicted(self, canvas: Canvas, prompt: KeyedTensor, latents: Tensor, timestep: Tensor) -> Tensor:
        bundle, (control,) = self.work.generator.bundle, canvas.controls
        assert bundle.control is not None
        times, words = timestep.to(latents.device).expand(1), prompt.values[None]
        *down, middle = (
            control.scale * residual
            for residual in control_residuals(bundle.control, control.condition.values[None], times, words)
        )
        fitting = tuple(fitting_residuals(down, bundle.unet.config))
        predicted: Tensor = bundle.unet(
            latents.to(bundle.unet.dtype), times, words, down_block_additional_residuals=fitting,
            mid_block_additional_residual=middle, return_dict=False,
        )[0]  # fmt: skip
        return predicted.float()


def measure_regions(work: Work, regions: int, rounds: int) -> dict[str, Any]:
    """Measure pictures with regions, plain ones in an engine without room for regions, and the usual loop.

    Every picture has a condition of its own, so nobody shares control.

    Args:
        work: Models and settings.
        regions: Regions of a picture, vertical stripes that leave one stripe to the background.
        rounds: Runs of every contestant.

    Returns:
        ``gflop_per_picture`` of each contestant, without encoding and decoding, which do not depend on regions;
        ``flops``: ``regions_over_rows``, operations over those of as many plain rows, and ``loop_over_engine``;
        ``ratios``: the same of times, medians over rounds; ``spread``.

    Raises:
        SpecError: If no picture fits the slots.
        EngineError: If engine and loop generate different pictures.
    """
    rows, slots = 1 + regions, work.spec.engine.slots
    if regions < 1 or rows > slots:
        raise SpecError(key="--regions", found=regions, expected=f"1 to {slots - 1}, as there are {slots} slots")
    count, device = slots // rows, work.generator.bundle.unet.device
    plain = _plain_canvases(work, count * rows)
    parted = [replace(canvas, layers=_stripes(work, regions)) for canvas in plain[:count]]
    contestants: dict[str, Rows | UsualLoop] = {
        "engine": Rows(build_engine(work.generator, count * rows, count * rows, regions), parted),
        "plain": Rows(build_engine(work.generator, count * rows, count * rows, 0), plain),
        "loop": UsualLoop(work, parted),
    }
    counted = {name: _counted(each) for name, each in contestants.items()}
    error = _difference(contestants["engine"].latents, contestants["loop"].latents)
    if work.generator.table.num_columns == 1 + work.generator.table.num_steps and error > _limit(work):
        raise EngineError(key="latents of engine and usual loop", found=f"{error:.2g} apart", expected=_limit(work))
    laps = [run_side_by_side({n: each.pieces() for n, each in contestants.items()}, device) for _ in range(rounds)]
    seconds = [{n: lap[n].total / len(each.canvases) for n, each in contestants.items()} for lap in laps]
    times = {name: [ratio(each, rows) for each in seconds] for name, ratio in _RATIOS.items()}
    return {
        "regions": regions,
        "pictures_at_once": count,
        "gflop_per_picture": counted,
        "flops": {name: ratio(counted, rows) for name, ratio in _RATIOS.items()},
        "ratios": {name: statistics.median(values) for name, values in times.items()},
        "spread": {name: [min(values), max(values)] for name, values in times.items()},
        "latents_apart": error,
    }


_RATIOS: Final[dict[str, Callable[[dict[str, float], int], float]]] = {
    "regions_over_rows": lambda cost, rows: cost["engine"] / (rows * cost["plain"]),
    "loop_over_engine": lambda cost, _: cost["loop"] / cost["engine"],
}


def _counted(contestant: Rows | UsualLoop) -> float:
    """GFLOP per picture, counted in a run that also warms up."""
    return gflop(partial(run_to_end, contestant.pieces())) / len(contestant.canvases)


def _plain_canvases(work: Work, count: int) -> list[Canvas]:
    records = (synthetic_record(work.spec, number) for number in range(count))
    return build_canvases(work.generator, [sample_requests(work.generator, r, variants=1)[0] for r in records])


def _stripes(work: Work, regions: int) -> Layers:
    """Vertical stripes of equal width, the last of which belongs to the background."""
    edge, parts = work.latent_size, list[Region]()
    for number in range(regions):
        mask = torch.zeros(edge, edge)
        mask[:, edge * number // (regions + 1) : edge * (number + 1) // (regions + 1)] = 1
        text = f"region {number}"
        parts.append(Region(KeyedTensor(prompt_name(text), work.generator.prompts.embed(text)), mask))
    return Layers(tuple(parts))


def _difference(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """Largest relative difference of a picture's latents."""
    return max(float((found[key] - expected[key]).norm() / expected[key].norm()) for key in expected)


def _limit(work: Work) -> float:
    """Rounding of 16-bit networks adds up over steps."""
    return _TOLERANCE if work.generator.bundle.unet.dtype == torch.float32 else 20 * _TOLERANCE
