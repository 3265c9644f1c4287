"""The pictures that every contestant makes: made-up records, sent the way that a build's records go.

Refuses to know who makes them and how long that takes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dentgen.diffusion.engine import DiffusionEngine
from dentgen.documents import Unit
from dentgen.errors import SpecError
from dentgen.generation.canvases import sample_requests
from dentgen.generation.generator import CODEC_BATCH, Generator, build_engine, build_generator, prompt_encoder
from dentgen.models.bundle import Bundle
from dentgen.records import ConditionRecord, SampleRequest
from dentgen.seeding import NoiseKey, numpy_generator
from dentgen.shards.plan import Plan
from dentgen.spec.build import BuildSpec

#: Edge of the squares that a made-up map consists of, pixels.
_SQUARE: Final = 8


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """Pictures to make, on loaded models.

    Attributes:
        generator: Models, solver and settings, as a build has them.
        requests: The pictures; variants of a record stand together and share condition and prompt.
    """

    generator: Generator
    requests: tuple[SampleRequest, ...]

    @property
    def spec(self) -> BuildSpec:
        """The settings."""
        return self.generator.spec

    @property
    def records(self) -> int:
        """Distinct conditions, and as many distinct prompts."""
        return len({request.record.key for request in self.requests})

    @property
    def ticks(self) -> int:
        """UNet calls of full batches that the pictures need."""
        return -(-len(self.requests) * self.generator.table.num_steps // self.spec.engine.slots)

    @property
    def latent_size(self) -> int:
        """Edge of the latents."""
        return self.spec.conditions.size // self.generator.codec.downscale

    def first(self, pictures: int) -> Work:
        """The same with fewer pictures."""
        return replace(self, requests=self.requests[:pictures])

    def afresh(self) -> Generator:
        """The generation without any prompt remembered."""
        return replace(self.generator, prompts=prompt_encoder(self.spec, self.generator.bundle))

    def engine(self, slots: int | None = None) -> DiffusionEngine:
        """An engine of the spec's shape, or of another number of slots; not yet warmed up."""
        own = self.spec.engine.slots
        slots = own if slots is None else slots
        return build_engine(self.generator, slots, max(1, self.spec.control_slots * slots // own))

    def images(self) -> list[NDArray[np.uint8]]:
        """The control image of every picture."""
        return [next(iter(request.controls.values())) for request in self.requests]

    def noise(self) -> Tensor:
        """(picture, 4, h, w) float32 noise that the engine's canvases start from."""
        shape = (4, self.latent_size, self.latent_size)
        keys = [NoiseKey(self.spec.sampling.seed, r.record.key, r.variant) for r in self.requests]
        return torch.stack([key.normal("initial", 0, shape) for key in keys])


def make_work(spec: BuildSpec, bundle: Bundle, times: int) -> Work:
    """Make up records for some engines full of pictures.

    Args:
        spec: Few-step sampling without guidance, one ctrLoRA branch.
        bundle: The loaded bundle.
        times: Pictures per slot; rounded up until slots and the codec's batches are all full.

    Raises:
        SpecError: If the contestants would not do the same work.
    """
    _check(spec, bundle)
    environment = {"device": bundle.unet.device.type, "dtype": str(bundle.unet.dtype).removeprefix("torch.")}
    plan = Plan(
        segment=0,
        spec=spec.model_dump(mode="json"),
        spec_digest=spec.digest(),
        bundle_digest=bundle.digest,
        environment=environment,
        units=(),
    )
    generator = build_generator(plan, spec, bundle)
    pictures = _pictures(spec, times)
    records = [_record(spec, number) for number in range(pictures // spec.sampling.variants)]
    unit = Unit(id=0, shard="made-up", start=0, stop=len(records), records=len(records), shard_bytes=0)
    requests, rejected = sample_requests(generator, unit, records)
    if rejected:
        raise SpecError(rejected[0].reason)
    return Work(generator, tuple(requests))


def _pictures(spec: BuildSpec, times: int) -> int:
    even = math.lcm(spec.engine.slots, CODEC_BATCH * spec.sampling.variants)
    return even * -(-times * spec.engine.slots // even)


def _check(spec: BuildSpec, bundle: Bundle) -> None:
    sampling = spec.sampling
    if sampling.guidance_scale != 1 or sampling.start_from != "noise" or sampling.prompt is not None:
        raise SpecError(
            "found guidance, photos or one prompt for all, expected plain sampling with the records' prompts"
        )
    if not isinstance(sampling.scheduler, str) or sampling.scheduler_options or sampling.timesteps is not None:
        raise SpecError("found a scheduler with settings of its own, expected a name and a number of steps")
    if sampling.prompt_to is not None or sampling.seed_to is not None:
        raise SpecError("found interpolation, expected every variant with its own noise and its record's prompt")
    if bundle.control is None or bundle.full or set(spec.conditions.use) != {"segmentation", "lighting"}:
        raise SpecError(
            "found other control, expected one ctrLoRA adapter or none, blended from segmentation and lighting"
        )


def _record(spec: BuildSpec, number: int) -> ConditionRecord:
    generator = numpy_generator("benchmark", number)
    cells = spec.conditions.size // _SQUARE
    square = np.ones((_SQUARE, _SQUARE), np.uint8)
    return ConditionRecord(
        key=f"record-{number:05d}",
        group="",
        split="",
        prompt=f"a photo of both teeth, front view, {number}",
        conditions={
            "segmentation": np.kron(generator.integers(0, 4, (cells, cells), np.uint8), square),
            "lighting": np.kron(generator.integers(0, 256, (cells, cells), np.uint8), square),
        },
        fdi=None,
        photo=None,
        license="",
        attributes={},
    )


def batches(work: Work, size: int) -> Sequence[Work]:
    """The work in batches of pictures, the last one shorter."""
    whole = work.requests
    return [replace(work, requests=whole[i : i + size]) for i in range(0, len(whole), size)]
