"""Requests to canvases: prompts embedded, control images and photos encoded, noise keyed, regions layered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from dentgen.conditions.labels import SEG_CLASSES
from dentgen.diffusion.canvas import Canvas, ControlInput, Failed, Noise, Repaint
from dentgen.diffusion.guidance import Guidance
from dentgen.diffusion.interpolation import NoisePath, lerp, share_of, slerp
from dentgen.diffusion.keyed_tensor import KeyedTensor
from dentgen.diffusion.warped_noise import WarpedNoise, transport
from dentgen.errors import CanvasError, EngineError, is_device_fault, is_out_of_memory
from dentgen.generation.encodings import encode_conditions, encode_photos, encoder_of, has_inpainting_unet, image_name
from dentgen.generation.generator import ControlRoute, Generator
from dentgen.generation.pasting import repaint_mask
from dentgen.generation.regions import embedded, request_layers
from dentgen.models.text import prompt_name
from dentgen.records import ConditionRecord, SampleRequest
from dentgen.seeding import NoiseKey


def build_canvases(generator: Generator, requests: Sequence[SampleRequest]) -> list[Canvas]:
    """One canvas per request; every distinct control image and photo is encoded once."""
    return CanvasFactory(generator).canvases(requests)


class CanvasFactory:
    """Canvases of one spec; images that were encoded lately are not encoded again."""

    def __init__(self, generator: Generator) -> None:
        """Encode nothing yet."""
        self.generator = generator
        self._conditions: dict[tuple[str, str], KeyedTensor] = {}
        self._photos: dict[str, Tensor] = {}

    def canvases(self, requests: Sequence[SampleRequest]) -> list[Canvas]:
        """One canvas per request; every distinct control image and photo is encoded once.

        Encodings of earlier calls are kept as long as they are used by the next call.
        """
        self._conditions = encode_conditions(self.generator, requests, self._conditions)
        self._photos = encode_photos(self.generator, requests)
        return [self._canvas(request) for request in requests]

    def canvases_or_errors(self, requests: Sequence[SampleRequest]) -> list[Canvas | Failed]:
        """As ``canvases``, with the error of a request that cannot be prepared in its place.

        Raises:
            EngineError: If the engine whose thread encodes has died, or the device has run out of memory.
        """
        try:
            return [*self.canvases(requests)]
        except Exception as error:
            if isinstance(error, EngineError) or is_device_fault(error) or is_out_of_memory(error):
                raise
            if len(requests) > 1:  # one of them is at fault: the others must not pay for it
                return [one for request in requests for one in self.canvases_or_errors([request])]
            key = requests[0].key
            return [Failed(key, CanvasError(f"cannot be prepared: {error!r}", key=key))]

    @cached_property
    def _white(self) -> Tensor | None:
        """Latents of a white picture, if the spec's regions begin on white."""
        spec = self.generator.spec
        if not (spec.max_regions and spec.regions.bootstrap_steps):
            return None
        (white,) = self.generator.codec.encode_pictures([np.full((*spec.conditions.shape, 3), 255, np.uint8)])
        return white

    def _canvas(self, request: SampleRequest) -> Canvas:
        sampling = self.generator.spec.sampling
        photo = request.record.photo if sampling.needs_photo else None
        prompt = self._prompt(request)
        return Canvas(
            key=request.key,
            noise=self._noise(request),
            table=self.generator.table,
            prompt=prompt,
            guidance=guidance_of(self.generator, request.guidance_scale),
            controls=tuple(self._control(route, request) for route in self.generator.routes),
            image=None if photo is None else self._beside(self._photos[image_name(photo)]),
            repaint=self._repaint(request),
            layers=request_layers(self.generator, request, self._white),
            windows=self.generator.windows,
        )

    def _control(self, route: ControlRoute, request: SampleRequest) -> ControlInput:
        window = self.generator.spec.conditions
        return ControlInput(
            branch=route.branch,
            condition=self._condition(route, request),
            scale=route.scale * request.control_scale,
            start=window.control_start,
            end=window.control_end,
            where=None if route.by_class is None else self._beside(self._where(route.by_class, request.record)),
        )

    def _condition(self, route: ControlRoute, request: SampleRequest) -> KeyedTensor:
        """The encoded control image, beside that of the reference if the canvas has two frames."""
        encoder, branch = encoder_of(self.generator, route), route.branch
        own = self._conditions[encoder, image_name(request.controls[branch])]
        if branch not in request.reference_controls:
            return own
        left = self._conditions[encoder, image_name(request.reference_controls[branch])]
        return KeyedTensor(f"{left.name} {own.name}", torch.cat([left.values, own.values], -1))

    def _beside(self, frame: Tensor) -> Tensor:
        """A frame's latents (..., h, w) in every frame of a canvas."""
        return torch.cat([frame] * self.generator.spec.sampling.frames, -1)

    def _where(self, scales: Mapping[str, float], record: ConditionRecord) -> Tensor:
        """Scale (h, w) of every latent: the mean over its pixels."""
        table = np.ones(256, np.float32)
        for value, name in SEG_CLASSES.items():
            table[value] = scales.get(name, 1.0)
        pixels, cell = table[record.conditions["segmentation"]], self.generator.codec.downscale
        height, width = pixels.shape
        return torch.from_numpy(pixels.reshape(height // cell, cell, width // cell, cell).mean((1, 3)))

    def _repaint(self, request: SampleRequest) -> Repaint | None:
        """What a canvas keeps of its photo: the whole of it in the left one of two frames, or what is not repainted."""
        sampling = self.generator.spec.sampling
        if sampling.frames > 1:
            height, width = (edge // self.generator.codec.downscale for edge in request.record.shape)
            return Repaint(keep=(torch.arange(2 * width) < width).expand(height, -1))
        return self._repainted(request) if sampling.repaint else None

    def _repainted(self, request: SampleRequest) -> Repaint:
        """A latent is repainted if any of its pixels is: what is kept must be kept whole."""
        record, cell = request.record, self.generator.codec.downscale
        paint = repaint_mask(request, self.generator.spec.sampling)
        height, width = paint.shape
        cells = paint.reshape(height // cell, cell, width // cell, cell).any(axis=(1, 3))
        masked = None
        if has_inpainting_unet(self.generator) and record.photo is not None:
            masked = self._photos[image_name(record.photo, paint)]
        return Repaint(keep=torch.from_numpy(~cells), masked=masked)

    def _noise(self, request: SampleRequest) -> Noise:
        sampling, record = self.generator.spec.sampling, request.record
        frame = None if sampling.noise == "record" else record.frame
        noise = self._keyed_noise(request, record.key if frame is None else frame.series)
        if sampling.noise != "motion" or record.motion is None:
            return noise
        return WarpedNoise(noise, transport(record.motion, self.generator.codec.downscale))

    def _keyed_noise(self, request: SampleRequest, key: str) -> Noise:
        sampling = self.generator.spec.sampling
        if sampling.seed_to is None:
            return NoiseKey(request.seed, key, request.noise)
        share = share_of(request.variant, request.variants)
        return NoisePath(NoiseKey(request.seed, key, 0), NoiseKey(sampling.seed_to, key, 0), share)

    def _prompt(self, request: SampleRequest) -> KeyedTensor:
        sampling, prompts = self.generator.spec.sampling, self.generator.prompts
        own = embedded(self.generator, request.prompt)
        share = share_of(request.variant, request.variants)
        if sampling.prompt_to is None or share == 0:
            return own
        between = lerp if sampling.interpolation == "lerp" else slerp
        name = f"{own.name} {prompt_name(sampling.prompt_to)} {share}"
        return KeyedTensor(name, between(own.values, prompts.embed(sampling.prompt_to), share))


def guidance_of(generator: Generator, scale: float | None = None) -> Guidance:
    """The spec's guidance, with its negative prompt and, if it is None, its scale."""
    sampling, negative = generator.spec.sampling, None
    if sampling.first_rows > 1:
        negative = embedded(generator, sampling.negative_prompt)
    scale = sampling.guidance_scale if scale is None else scale
    return Guidance(scale, sampling.guidance, negative, sampling.guidance_delta)
