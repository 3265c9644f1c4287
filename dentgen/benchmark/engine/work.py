"""The images that every contestant generates, requested from synthetic records as a build would request them."""

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
from dentgen.errors import SpecError
from dentgen.generation.engines import build_engine
from dentgen.generation.generator import Generator, build_generator, prompt_encoder
from dentgen.generation.requests import sample_requests
from dentgen.models.bundle import Bundle
from dentgen.records import ConditionRecord, SampleRequest
from dentgen.seeding import NoiseKey, numpy_generator
from dentgen.spec.build import BuildSpec

#: Edge of the squares in a synthetic map, pixels.
_SQUARE: Final = 8


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """Images to generate with loaded models.

    Attributes:
        generator: Models, solver and settings, as in a build.
        requests: One per image; variants of a record are adjacent and share condition and prompt.
    """

    generator: Generator
    requests: tuple[SampleRequest, ...]

    @property
    def spec(self) -> BuildSpec:
        """The settings."""
        return self.generator.spec

    @property
    def records(self) -> int:
        """Number of distinct conditions, each with its own prompt."""
        return len({request.record.key for request in self.requests})

    @property
    def ticks(self) -> int:
        """UNet calls on full batches needed for all images."""
        return -(-len(self.requests) * self.generator.table.num_steps // self.spec.engine.slots)

    @property
    def latent_size(self) -> int:
        """Edge of the latents, latent pixels."""
        return self.spec.conditions.edge // self.generator.codec.downscale

    def first(self, pictures: int) -> Work:
        """Only the first images."""
        return replace(self, requests=self.requests[:pictures])

    def generator_with_empty_cache(self) -> Generator:
        """The generator with an empty prompt cache."""
        return replace(self.generator, prompts=prompt_encoder(self.spec, self.generator.bundle))

    def engine(self, slots: int | None = None) -> DiffusionEngine:
        """Build an engine of the spec's shape or with another number of slots; not warmed up."""
        own = self.spec.engine.slots
        slots = own if slots is None else slots
        return build_engine(self.generator, slots, max(1, self.spec.control_slots * slots // own))

    def control_images(self) -> list[NDArray[np.uint8]]:
        """(H, W, 3) uint8 control image of every request."""
        return [next(iter(request.controls.values())) for request in self.requests]

    def noise(self) -> Tensor:
        """(images, 4, h, w) float32 noise that the engine's canvases start from."""
        shape = (4, self.latent_size, self.latent_size)
        keys = [NoiseKey(r.seed, r.record.key, r.variant) for r in self.requests]
        return torch.stack([key.normal("initial", 0, shape) for key in keys])


def make_work(spec: BuildSpec, bundle: Bundle, times: int) -> Work:
    """Create synthetic records and the requests for their images.

    Args:
        spec: Few-step sampling without guidance, one ctrLoRA branch.
        bundle: The loaded bundle.
        times: Images per slot, rounded up until slots and codec batches are all full.

    Raises:
        SpecError: If the contestants cannot do the same work under this spec.
    """
    _check(spec, bundle)
    generator = build_generator(spec, bundle)
    count = _full_batches(spec, times)
    records = [synthetic_record(spec, number) for number in range(count // spec.sampling.variants)]
    requests = [request for record in records for request in sample_requests(generator, record)]
    return Work(generator, tuple(requests))


def _full_batches(spec: BuildSpec, times: int) -> int:
    """Smallest number of images that fills all slots and codec batches."""
    multiple = math.lcm(spec.engine.slots, spec.engine.codec_batch * spec.sampling.variants)
    return multiple * -(-times * spec.engine.slots // multiple)


def _check(spec: BuildSpec, bundle: Bundle) -> None:
    """Reject settings under which the contestants would not do the same work."""
    sampling = spec.sampling
    required = {
        "sampling.guidance_scale": (sampling.guidance_scale, 1),
        "sampling.start_from": (sampling.start_from, "noise"),
        "sampling.prompt": (sampling.prompt, None),
        "sampling.prompt_to": (sampling.prompt_to, None),
        "sampling.seed_to": (sampling.seed_to, None),
        "sampling.timesteps": (sampling.timesteps, None),
        "sampling.scheduler_options": (sampling.scheduler_options, {}),
    }
    for key, (found, expected) in required.items():
        if found != expected:
            raise SpecError("not supported by this benchmark", key=key, found=str(found), expected=str(expected))
    if not isinstance(sampling.scheduler, str):
        raise SpecError(
            "not supported by this benchmark", key="sampling.scheduler", found="a config", expected="a scheduler's name"
        )
    if spec.findings or spec.variants.change:
        raise SpecError("not supported by this benchmark", key="findings, variants", found="some", expected="none")
    if spec.sampling.window is not None:
        raise SpecError(key="sampling.window", found=spec.sampling.window, expected="null: whole pictures")
    if set(spec.conditions.use) != {"segmentation", "lighting"}:
        found = ", ".join(spec.conditions.use)
        raise SpecError(
            "not supported by this benchmark", key="conditions.use", found=found, expected="segmentation and lighting"
        )
    if bundle.control is None or bundle.full:
        raise SpecError(
            "not supported by this benchmark",
            key="model.adapters, model.controlnets",
            found=f"{len(bundle.shared)} ctrLoRA and {len(bundle.full)} full control nets",
            expected="one ctrLoRA control net, with one adapter or none",
        )


def synthetic_record(spec: BuildSpec, number: int) -> ConditionRecord:
    """A record of coloured squares with a prompt of its own, which its number decides."""
    generator = numpy_generator("benchmark", number)
    cells = spec.conditions.edge // _SQUARE
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
    """Split the work into batches of ``size`` images, the last one possibly smaller."""
    requests = work.requests
    return [replace(work, requests=requests[i : i + size]) for i in range(0, len(requests), size)]
