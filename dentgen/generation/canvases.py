"""Condition records to canvases: variants, prompts embedded, control images encoded, photos to start from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dentgen.conditions.labels import SEG_CLASSES
from dentgen.conditions.prepare import control_image
from dentgen.diffusion.canvas import Canvas, ControlInput, Failed, Noise, Repaint
from dentgen.diffusion.guidance import Guidance
from dentgen.diffusion.interpolation import NoisePath, lerp, share_of, slerp
from dentgen.diffusion.keyed_tensor import KeyedTensor
from dentgen.diffusion.networks import LATENT_CHANNELS
from dentgen.diffusion.warped_noise import WarpedNoise, transport
from dentgen.errors import CanvasError, ConditionError, EngineError, is_device_fault, is_out_of_memory
from dentgen.generation.findings import check_findings, region_prompt
from dentgen.generation.generator import ControlRoute, Generator
from dentgen.generation.pasting import check_repaint, repaint_mask
from dentgen.generation.regions import embedded, painted_prompts, request_layers
from dentgen.generation.variants import check_variants, vary
from dentgen.models.text import prompt_name
from dentgen.records import MOTION_MEMBERS, ConditionRecord, MapArray, SampleRequest
from dentgen.seeding import NoiseKey
from dentgen.spec.findings import FindingSpec

Image = NDArray[np.uint8]


def sample_requests(
    generator: Generator,
    record: ConditionRecord,
    *,
    prompt: str | None = None,
    seed: int | None = None,
    variants: int | None = None,
    findings: Sequence[FindingSpec] | None = None,
) -> list[SampleRequest]:
    """All variants of a fitted record.

    Args:
        generator: Models and settings.
        record: The record.
        prompt: Its prompt; None takes the spec's, or the record's own.
        seed: Seed of the noise; None takes the spec's.
        variants: Number of variants; None takes the spec's, times the record's oversampling factor.
        findings: Findings to ask for; None takes the spec's.
    """
    spec = generator.spec
    prompt = next(text for text in (prompt, spec.sampling.prompt, record.prompt) if text is not None)
    seed = spec.sampling.seed if seed is None else seed
    variants = spec.sampling.variants * spec.source.repeats(record.attributes) if variants is None else variants
    prompts = {prompt, spec.sampling.negative_prompt, spec.sampling.prompt_to or ""}
    prompts |= {region_prompt(finding, prompt) for finding in spec.findings} | {*spec.variants.prompts}
    prompts |= {*painted_prompts(record.painted), *spec.randomise.said(prompt)}
    dropped = " / ".join(filter(None, map(generator.prompts.dropped, sorted(prompts))))
    controls = _control_images(generator, record)
    kept = controls if spec.sampling.frames > 1 else {}
    plain = SampleRequest(
        record.key, record, 0, variants, seed, prompt, controls, dropped, reference_controls=kept
    )  # fmt: skip
    asked = spec.findings if findings is None else findings
    return [_controlled(generator, vary(spec, plain, number, asked), plain) for number in range(variants)]


def with_lighting(generator: Generator, request: SampleRequest, lighting: MapArray) -> SampleRequest:
    """The request under another light (H, W) uint8; what it keeps of its photo stays under the old one."""
    record = replace(request.record, conditions={**request.record.conditions, "lighting": lighting})
    return replace(request, record=record, controls=_control_images(generator, record))


def _controlled(generator: Generator, request: SampleRequest, plain: SampleRequest) -> SampleRequest:
    """The request with its own control images, if its maps are not those of the record."""
    if request.record is plain.record:
        return request
    return replace(request, controls=_control_images(generator, request.record))


def _control_images(generator: Generator, record: ConditionRecord) -> dict[str, Image]:
    """The control image of every branch; branches of the same conditions share it."""
    alpha = generator.spec.conditions.alpha
    images = {use: control_image(record, use, alpha) for use in {route.use for route in generator.routes}}
    return {route.branch: images[route.use] for route in generator.routes}


def check_requests(generator: Generator, requests: Sequence[SampleRequest]) -> None:
    """As ``check_request``, of all variants of a record, which differ in their prompts at most.

    Raises:
        ConditionError: As there.
    """
    check_request(generator, requests[0])
    for prompt in {request.prompt for request in requests}:
        _check_prompt(generator, prompt)


def check_request(generator: Generator, request: SampleRequest) -> None:
    """Check that a record has what the spec's way of sampling needs.

    Raises:
        ConditionError: If a prompt is too long, there are more painted regions than the spec says, or a photo,
            segmentation or tooth numbers to start from, a series or its motion are missing.
    """
    sampling, record = generator.spec.sampling, request.record
    if sampling.needs_photo and record.photo is None:
        raise ConditionError("photo", "none", f"a photo, because sampling.start_from is {sampling.start_from}")
    if len(record.painted) > (most := generator.spec.regions.painted):
        raise ConditionError("painted", f"{len(record.painted)} regions", f"at most {most}, by regions.painted")
    for prompt in painted_prompts(record.painted):
        generator.prompts.embed(prompt)
    _check_series(record, sampling.noise)
    check_repaint(record, sampling)
    check_findings(record, generator.spec.findings)
    check_variants(record, generator.spec.variants.change)
    for prompt in (request.prompt, *generator.spec.variants.prompts):
        _check_prompt(generator, prompt)
    by_class = [route.branch for route in generator.routes if route.by_class is not None]
    if by_class and "segmentation" not in record.conditions:
        raise ConditionError("seg", "none", f"a segmentation, because the scale of {by_class[0]} names classes")


def _check_prompt(generator: Generator, prompt: str) -> None:
    """Embed a prompt, and those of findings that may say it."""
    generator.prompts.embed(prompt)
    for finding in generator.spec.findings:
        generator.prompts.embed(region_prompt(finding, prompt))


def _check_series(record: ConditionRecord, noise: str) -> None:
    """Require what noise that records share needs: a record without it would have noise of its own without a word."""
    if noise != "record" and record.frame is None:
        raise ConditionError("series, frame", "none", f"a series, because sampling.noise is {noise}")
    if noise == "motion" and record.motion is None:
        raise ConditionError(", ".join(MOTION_MEMBERS), "none", "motion maps, because sampling.noise is motion")


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
        self._conditions = _encode_conditions(self.generator, requests, self._conditions)
        self._photos = _encode_photos(self.generator, requests)
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
            image=None if photo is None else self._beside(self._photos[_image_name(photo)]),
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
        encoder, branch = _encoder(self.generator, route), route.branch
        own = self._conditions[encoder, _image_name(request.controls[branch])]
        if branch not in request.reference_controls:
            return own
        left = self._conditions[encoder, _image_name(request.reference_controls[branch])]
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
        if _has_inpainting_unet(self.generator) and record.photo is not None:
            masked = self._photos[_image_name(record.photo, paint)]
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


def _encode_conditions(
    generator: Generator, requests: Sequence[SampleRequest], known: Mapping[tuple[str, str], KeyedTensor]
) -> dict[tuple[str, str], KeyedTensor]:
    encoded: dict[tuple[str, str], KeyedTensor] = {}
    for route in generator.routes:
        encoder = _encoder(generator, route)
        shown = [each for request in requests for each in (request.controls, request.reference_controls)]
        images = {_image_name(each[route.branch]): each[route.branch] for each in shown if route.branch in each}
        encoded |= {(encoder, name): known[encoder, name] for name in images if (encoder, name) in known}
        new = {name: image for name, image in images.items() if (encoder, name) not in encoded}
        values = _encode(generator, route, list(new.values()))
        encoded |= {(encoder, name): KeyedTensor(name, v) for name, v in zip(new, values, strict=True)}
    return encoded


def _encoder(generator: Generator, route: ControlRoute) -> str:
    """What encodes a route's images: the autoencoder for every ctrLoRA, a ControlNet's own hint embedding otherwise."""
    return route.network if route.network in generator.bundle.full else "autoencoder"


def _encode(generator: Generator, route: ControlRoute, images: list[Image]) -> list[Tensor]:
    full = generator.bundle.full.get(route.network)
    if full is None:
        return generator.codec.encode_control(images)
    return [generator.codec.on_device(partial(full.embed, image)) for image in images]


def _encode_photos(generator: Generator, requests: Sequence[SampleRequest]) -> dict[str, Tensor]:
    if not generator.spec.sampling.needs_photo:
        return {}
    records = {request.record.key: request.record for request in requests}
    photos = {_image_name(record.photo): record.photo for record in records.values() if record.photo is not None}
    encoded = dict(zip(photos, generator.codec.encode_pictures(list(photos.values())), strict=True))
    if not _has_inpainting_unet(generator):
        return encoded
    named = {}
    for request in requests:
        if (photo := request.record.photo) is not None:
            paint = repaint_mask(request, generator.spec.sampling)
            named[_image_name(photo, paint)] = (photo, ~paint)
    masked = generator.codec.encode_masked([photo for photo, _ in named.values()], [keep for _, keep in named.values()])
    return {**encoded, **dict(zip(named, masked, strict=True))}


def _has_inpainting_unet(generator: Generator) -> bool:
    """Whether the UNet sees mask and masked photo as further input channels."""
    sees_mask = int(generator.bundle.unet.config["in_channels"]) > LATENT_CHANNELS
    return sees_mask and bool(generator.spec.sampling.repaint)


def _image_name(*images: NDArray[np.generic]) -> str:
    """Content hash; equal images are encoded once."""
    digest = hashlib.sha256()
    for image in images:
        digest.update(image.tobytes())
    return digest.hexdigest()
