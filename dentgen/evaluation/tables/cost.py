"""What a picture of a spec costs: UNet evaluations, operations, parameters, and its time beside another spec's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from time import perf_counter
from typing import Final

import torch

from dentgen.diffusion.engine import DiffusionEngine
from dentgen.generation.engines import build_engine
from dentgen.generation.generator import Generator, load_generator
from dentgen.generation.threads import torch_threads
from dentgen.models.flops import gflop
from dentgen.spec.build import BuildSpec

_ROUNDS: Final = 7


@dataclass(frozen=True, slots=True)
class Cost:
    """Cost of one picture made alone.

    Attributes:
        steps: Sampling steps.
        unet_evaluations: Rows that go through the UNet, at most: steps times rows of a step.
        gflop: 10^9 operations of all networks, a multiply-add counted as two; a control whose
            scale is 0 is left out.
        parameters: Parameters of UNet and control nets, shared ones counted once.
    """

    steps: int
    unet_evaluations: int
    gflop: float
    parameters: int


class OnePicture:
    """The networks' work for one picture alone: ``steps`` ticks of an engine with its rows, and what is done once."""

    def __init__(self, spec: BuildSpec) -> None:
        """Load the networks; controls whose scale is 0 are left out."""
        generator = load_generator(spec)
        routes = tuple(route for route in generator.routes if route.scale != 0)
        self._generator = replace(generator, routes=routes)
        self.rows = self._generator.spec.first_rows
        self._engine: DiffusionEngine = build_engine(self._generator, self.rows, self.rows)

    @property
    def generator(self) -> Generator:
        """Networks and the controls that act."""
        return self._generator

    def tick(self) -> None:
        """One step."""
        self._engine.warm_up()

    @torch.no_grad()
    def once(self) -> None:
        """Embed the prompts, encode the control images, decode the latents."""
        bundle, spec = self._generator.bundle, self._generator.spec
        height, width = spec.conditions.shape
        like = {"device": bundle.unet.device, "dtype": bundle.unet.dtype}
        pixels = torch.zeros(1, 3, height, width, **like)
        tokens = torch.zeros(1, bundle.tokenizer.model_max_length, device=bundle.unet.device, dtype=torch.long)
        for _ in range(self.rows):
            bundle.text_encoder(tokens)
        for route in self._generator.routes:
            full = bundle.full.get(route.network)
            bundle.vae.encode(pixels) if full is None else full.hint(pixels)
        edges = [edge // self._generator.codec.downscale for edge in (height, width)]
        (bundle.tiny_decoder or bundle.vae).decode(torch.zeros(1, 4, *edges, **like))

    @property
    def parameters(self) -> int:
        """Parameters of UNet and acting control nets; what nets share is counted once."""
        bundle = self._generator.bundle
        nets = [bundle.full[r.network].network if r.network in bundle.full else bundle.shared[r.network]
                for r in self._generator.routes]  # fmt: skip
        hints = [bundle.full[r.network].hint for r in self._generator.routes if r.network in bundle.full]
        single = {id(value): value.numel() for net in (bundle.unet, *nets, *hints) for value in net.parameters()}
        return sum(single.values())


def picture_cost(spec: BuildSpec) -> Cost:
    """Count what one picture of a spec costs, by running its networks once.

    Raises:
        DentgenError: If the spec's bundle cannot be loaded.
    """
    picture = OnePicture(spec)
    steps = picture.generator.table.num_steps
    return Cost(
        steps=steps,
        unet_evaluations=steps * picture.rows,
        gflop=steps * gflop(picture.tick) + gflop(picture.once),
        parameters=picture.parameters,
    )


def times_over_first(specs: Sequence[BuildSpec], rounds: int = _ROUNDS) -> list[float]:
    """Seconds of one picture of every spec over those of the first one's.

    Each spec is timed in turn with the first, so that a busy machine slows both alike.

    Args:
        specs: Specs of pictures; the first is what times are relative to.
        rounds: Measurements of everything; medians are used.
    """
    with torch_threads(specs[0].engine.threads):
        first = OnePicture(specs[0])
        return [1.0, *(_ratio(OnePicture(spec), first, rounds) for spec in specs[1:])]


def _ratio(picture: OnePicture, first: OnePicture, rounds: int) -> float:
    pair = (picture, first)
    for each in pair:
        each.tick()
        each.once()
    laps = [[(_seconds(each.tick), _seconds(each.once)) for each in pair] for _ in range(rounds)]
    ours, theirs = (
        each.generator.table.num_steps * median(lap[i][0] for lap in laps) + median(lap[i][1] for lap in laps)
        for i, each in enumerate(pair)
    )
    return ours / theirs


def _seconds(work: Callable[[], object]) -> float:
    began = perf_counter()
    work()
    return perf_counter() - began
