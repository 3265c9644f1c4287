"""Records to canvases: variants, prompts embedded, control images encoded, pictures to start from.

Refuses to know files, and what becomes of a canvas.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dentgen import storage
from dentgen.conditions.labels import SEG_CLASSES
from dentgen.conditions.prepare import control_image
from dentgen.diffusion.canvas import Canvas, ControlInput, Noise, Repaint
from dentgen.diffusion.guidance import Guidance
from dentgen.diffusion.interpolation import NoisePath, lerp, share_of, slerp
from dentgen.diffusion.keyed_tensor import Named
from dentgen.diffusion.networks import LATENT_CHANNELS
from dentgen.documents import SampleStatus, Unit, sample_key
from dentgen.errors import ConditionError
from dentgen.generation.generator import ControlRoute, Generation
from dentgen.generation.samples import status_of
from dentgen.models.text import prompt_name
from dentgen.records import ConditionRecord, SampleRequest
from dentgen.seeding import NoiseKey

Image = NDArray[np.uint8]


def requests_of(
    generation: Generation, unit: Unit, records: Sequence[ConditionRecord]
) -> tuple[list[SampleRequest], list[SampleStatus]]:
    """Variants of every record, and those that cannot be made, with the reason."""
    requests: list[SampleRequest] = []
    rejected: list[SampleStatus] = []
    for record in records:
        variants = _variants(generation, record)
        try:
            _check(generation, record, variants[0].prompt)
        except ConditionError as error:
            reason = f"{storage.name_of(unit.shard)}: {record.key}: {error}"
            rejected += [status_of(request, "rejected", reason) for request in variants]
        else:
            requests += variants
    return requests, rejected


def canvases_of(generation: Generation, requests: Sequence[SampleRequest]) -> list[Canvas]:
    """One canvas per request; every distinct control image and photo is encoded once."""
    encoded = _Encoded.of(generation, requests)
    return [_canvas(generation, request, encoded) for request in requests]


def _variants(generation: Generation, record: ConditionRecord) -> list[SampleRequest]:
    spec = generation.spec
    prompt = spec.sampling.prompt if spec.sampling.prompt is not None else record.prompt
    drawn = {use: control_image(record, use, spec.conditions.alpha) for use in {r.use for r in generation.routes}}
    controls = {route.branch: drawn[route.use] for route in generation.routes}
    spoken = {prompt, spec.sampling.negative_prompt, spec.sampling.prompt_to or ""}
    dropped = " / ".join(filter(None, map(generation.prompts.dropped, sorted(spoken))))
    variants = spec.sampling.variants * spec.source.times(record.attributes)
    return [
        SampleRequest(sample_key(record.key, v), record, v, variants, prompt, controls, dropped)
        for v in range(variants)
    ]


def _check(generation: Generation, record: ConditionRecord, prompt: str) -> None:
    """Refuse what the spec's way of sampling cannot take.

    Raises:
        ConditionError: If the prompt is too long, or a picture or map to start from is missing.
    """
    sampling = generation.spec.sampling
    generation.prompts.embed(prompt)
    if sampling.start_from == "photo" and record.photo is None:
        raise ConditionError("photo", "none", "a picture, because sampling.start_from is photo")
    if sampling.repaint and "segmentation" not in record.conditions:
        raise ConditionError("seg", "none", "a segmentation, because sampling.repaint names classes")


@dataclass(frozen=True, slots=True, eq=False)
class _Encoded:
    """What networks made of a unit's images, by the images' names.

    Attributes:
        conditions: Condition latents or hint features by (network, image).
        photos: Latents by photo, or by photo and mask where only a part is shown.
    """

    conditions: Mapping[tuple[str, str], Named]
    photos: Mapping[str, Tensor]

    @classmethod
    def of(cls, generation: Generation, requests: Sequence[SampleRequest]) -> _Encoded:
        conditions: dict[tuple[str, str], Named] = {}
        for route in generation.routes:
            images = {_name(request.controls[route.branch]): request.controls[route.branch] for request in requests}
            new = {name: image for name, image in images.items() if (_kind(generation, route), name) not in conditions}
            values = _encode(generation, route, list(new.values()))
            for name, value in zip(new, values, strict=True):
                conditions[_kind(generation, route), name] = Named(name, value)
        return cls(conditions, _encoded_photos(generation, requests))


def _kind(generation: Generation, route: ControlRoute) -> str:
    """What encodes a route's images: the autoencoder for every ctrLoRA, a ControlNet's own hint embedding otherwise."""
    return route.network if route.network in generation.bundle.full else "autoencoder"


def _encode(generation: Generation, route: ControlRoute, images: list[Image]) -> list[Tensor]:
    full = generation.bundle.full.get(route.network)
    if full is None:
        return generation.codec.encode_control(images)
    return [generation.codec.on_device(partial(full.embed, image)) for image in images]


def _encoded_photos(generation: Generation, requests: Sequence[SampleRequest]) -> dict[str, Tensor]:
    if generation.spec.sampling.start_from != "photo":
        return {}
    records = {request.record.key: request.record for request in requests}
    photos = {_name(record.photo): record.photo for record in records.values() if record.photo is not None}
    encoded = dict(zip(photos, generation.codec.encode_pictures(list(photos.values())), strict=True))
    if not _shows_mask(generation):
        return encoded
    pairs = [(record.photo, _painted(generation, record)) for record in records.values() if record.photo is not None]
    masked = generation.codec.encode_masked([photo for photo, _ in pairs], [~paint for _, paint in pairs])
    return {**encoded, **{_name(photo, paint): m for (photo, paint), m in zip(pairs, masked, strict=True)}}


def _shows_mask(generation: Generation) -> bool:
    """Whether the UNet is told what to paint, as further channels."""
    sees_mask = int(generation.bundle.unet.config["in_channels"]) > LATENT_CHANNELS
    return sees_mask and bool(generation.spec.sampling.repaint)


def _painted(generation: Generation, record: ConditionRecord) -> NDArray[np.bool_]:
    """(H, W), True where the spec's classes are to be painted anew."""
    values = [value for value, name in SEG_CLASSES.items() if name in generation.spec.sampling.repaint]
    return np.isin(record.conditions["segmentation"], values)


def _canvas(generation: Generation, request: SampleRequest, encoded: _Encoded) -> Canvas:
    spec, sampling = generation.spec, generation.spec.sampling
    photo = request.record.photo if sampling.start_from == "photo" else None
    return Canvas(
        key=request.key,
        noise=_noise(generation, request),
        table=generation.table,
        prompt=_prompt(generation, request),
        guidance=_guidance(generation),
        controls=tuple(
            ControlInput(
                branch=route.branch,
                condition=encoded.conditions[_kind(generation, route), _name(request.controls[route.branch])],
                scale=route.scale,
                start=spec.conditions.control_start,
                end=spec.conditions.control_end,
            )
            for route in generation.routes
        ),
        image=None if photo is None else encoded.photos[_name(photo)],
        repaint=_repaint(generation, request, encoded) if sampling.repaint else None,
    )


def _guidance(generation: Generation) -> Guidance:
    sampling = generation.spec.sampling
    if sampling.first_rows == 1:
        return Guidance(sampling.guidance_scale, sampling.guidance, delta=sampling.guidance_delta)
    negative = Named(prompt_name(sampling.negative_prompt), generation.prompts.embed(sampling.negative_prompt))
    return Guidance(sampling.guidance_scale, sampling.guidance, negative, sampling.guidance_delta)


def _repaint(generation: Generation, request: SampleRequest, encoded: _Encoded) -> Repaint:
    """A latent is painted anew if any of its pixels is: what is kept must be kept whole."""
    record, cell = request.record, generation.codec.downscale
    paint = _painted(generation, record)
    height, width = paint.shape
    cells = paint.reshape(height // cell, cell, width // cell, cell).any(axis=(1, 3))
    shows = _shows_mask(generation) and record.photo is not None
    masked = encoded.photos[_name(record.photo, paint)] if shows and record.photo is not None else None
    return Repaint(keep=torch.from_numpy(~cells), masked=masked)


def _noise(generation: Generation, request: SampleRequest) -> Noise:
    sampling, key = generation.spec.sampling, request.record.key
    if sampling.seed_to is None:
        return NoiseKey(sampling.seed, key, request.variant)
    share = share_of(request.variant, request.variants)
    return NoisePath(NoiseKey(sampling.seed, key, 0), NoiseKey(sampling.seed_to, key, 0), share)


def _prompt(generation: Generation, request: SampleRequest) -> Named:
    sampling, prompts = generation.spec.sampling, generation.prompts
    own = Named(prompt_name(request.prompt), prompts.embed(request.prompt))
    share = share_of(request.variant, request.variants)
    if sampling.prompt_to is None or share == 0:
        return own
    between = lerp if sampling.interpolation == "lerp" else slerp
    name = f"{own.name} {prompt_name(sampling.prompt_to)} {share}"
    return Named(name, between(own.values, prompts.embed(sampling.prompt_to), share))


def _name(*images: NDArray[np.generic] | None) -> str:
    digest = hashlib.sha256()
    for image in images:
        if image is not None:
            digest.update(image.tobytes())
    return digest.hexdigest()
