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
from dentgen.diffusion.keyed_tensor import KeyedTensor
from dentgen.diffusion.networks import LATENT_CHANNELS
from dentgen.documents import SampleStatus, Unit, sample_key
from dentgen.errors import ConditionError
from dentgen.generation.generator import ControlRoute, Generator
from dentgen.generation.samples import sample_status
from dentgen.models.text import prompt_name
from dentgen.records import ConditionRecord, SampleRequest
from dentgen.seeding import NoiseKey

Image = NDArray[np.uint8]


def sample_requests(
    generator: Generator, unit: Unit, records: Sequence[ConditionRecord]
) -> tuple[list[SampleRequest], list[SampleStatus]]:
    """Variants of every record, and those that cannot be made, with the reason."""
    requests: list[SampleRequest] = []
    rejected: list[SampleStatus] = []
    for record in records:
        variants = _variants(generator, record)
        try:
            _check(generator, record, variants[0].prompt)
        except ConditionError as error:
            reason = f"{storage.name_of(unit.shard)}: {record.key}: {error}"
            rejected += [sample_status(request, "rejected", reason) for request in variants]
        else:
            requests += variants
    return requests, rejected


def build_canvases(generator: Generator, requests: Sequence[SampleRequest]) -> list[Canvas]:
    """One canvas per request; every distinct control image and photo is encoded once."""
    encoded = _Encoded.of(generator, requests)
    return [_canvas(generator, request, encoded) for request in requests]


def _variants(generator: Generator, record: ConditionRecord) -> list[SampleRequest]:
    spec = generator.spec
    prompt = spec.sampling.prompt if spec.sampling.prompt is not None else record.prompt
    drawn = {use: control_image(record, use, spec.conditions.alpha) for use in {r.use for r in generator.routes}}
    controls = {route.branch: drawn[route.use] for route in generator.routes}
    spoken = {prompt, spec.sampling.negative_prompt, spec.sampling.prompt_to or ""}
    dropped = " / ".join(filter(None, map(generator.prompts.dropped, sorted(spoken))))
    variants = spec.sampling.variants * spec.source.times(record.attributes)
    return [
        SampleRequest(sample_key(record.key, v), record, v, variants, prompt, controls, dropped)
        for v in range(variants)
    ]


def _check(generator: Generator, record: ConditionRecord, prompt: str) -> None:
    """Refuse what the spec's way of sampling cannot take.

    Raises:
        ConditionError: If the prompt is too long, or a picture or map to start from is missing.
    """
    sampling = generator.spec.sampling
    generator.prompts.embed(prompt)
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

    conditions: Mapping[tuple[str, str], KeyedTensor]
    photos: Mapping[str, Tensor]

    @classmethod
    def of(cls, generator: Generator, requests: Sequence[SampleRequest]) -> _Encoded:
        conditions: dict[tuple[str, str], KeyedTensor] = {}
        for route in generator.routes:
            images = {_name(request.controls[route.branch]): request.controls[route.branch] for request in requests}
            new = {name: image for name, image in images.items() if (_kind(generator, route), name) not in conditions}
            values = _encode(generator, route, list(new.values()))
            for name, value in zip(new, values, strict=True):
                conditions[_kind(generator, route), name] = KeyedTensor(name, value)
        return cls(conditions, _encoded_photos(generator, requests))


def _kind(generator: Generator, route: ControlRoute) -> str:
    """What encodes a route's images: the autoencoder for every ctrLoRA, a ControlNet's own hint embedding otherwise."""
    return route.network if route.network in generator.bundle.full else "autoencoder"


def _encode(generator: Generator, route: ControlRoute, images: list[Image]) -> list[Tensor]:
    full = generator.bundle.full.get(route.network)
    if full is None:
        return generator.codec.encode_control(images)
    return [generator.codec.on_device(partial(full.embed, image)) for image in images]


def _encoded_photos(generator: Generator, requests: Sequence[SampleRequest]) -> dict[str, Tensor]:
    if generator.spec.sampling.start_from != "photo":
        return {}
    records = {request.record.key: request.record for request in requests}
    photos = {_name(record.photo): record.photo for record in records.values() if record.photo is not None}
    encoded = dict(zip(photos, generator.codec.encode_pictures(list(photos.values())), strict=True))
    if not _shows_mask(generator):
        return encoded
    pairs = [(record.photo, _painted(generator, record)) for record in records.values() if record.photo is not None]
    masked = generator.codec.encode_masked([photo for photo, _ in pairs], [~paint for _, paint in pairs])
    return {**encoded, **{_name(photo, paint): m for (photo, paint), m in zip(pairs, masked, strict=True)}}


def _shows_mask(generator: Generator) -> bool:
    """Whether the UNet is told what to paint, as further channels."""
    sees_mask = int(generator.bundle.unet.config["in_channels"]) > LATENT_CHANNELS
    return sees_mask and bool(generator.spec.sampling.repaint)


def _painted(generator: Generator, record: ConditionRecord) -> NDArray[np.bool_]:
    """(H, W), True where the spec's classes are to be painted anew."""
    values = [value for value, name in SEG_CLASSES.items() if name in generator.spec.sampling.repaint]
    return np.isin(record.conditions["segmentation"], values)


def _canvas(generator: Generator, request: SampleRequest, encoded: _Encoded) -> Canvas:
    spec, sampling = generator.spec, generator.spec.sampling
    photo = request.record.photo if sampling.start_from == "photo" else None
    return Canvas(
        key=request.key,
        noise=_noise(generator, request),
        table=generator.table,
        prompt=_prompt(generator, request),
        guidance=_guidance(generator),
        controls=tuple(
            ControlInput(
                branch=route.branch,
                condition=encoded.conditions[_kind(generator, route), _name(request.controls[route.branch])],
                scale=route.scale,
                start=spec.conditions.control_start,
                end=spec.conditions.control_end,
            )
            for route in generator.routes
        ),
        image=None if photo is None else encoded.photos[_name(photo)],
        repaint=_repaint(generator, request, encoded) if sampling.repaint else None,
    )


def _guidance(generator: Generator) -> Guidance:
    sampling = generator.spec.sampling
    if sampling.first_rows == 1:
        return Guidance(sampling.guidance_scale, sampling.guidance, delta=sampling.guidance_delta)
    negative = KeyedTensor(prompt_name(sampling.negative_prompt), generator.prompts.embed(sampling.negative_prompt))
    return Guidance(sampling.guidance_scale, sampling.guidance, negative, sampling.guidance_delta)


def _repaint(generator: Generator, request: SampleRequest, encoded: _Encoded) -> Repaint:
    """A latent is painted anew if any of its pixels is: what is kept must be kept whole."""
    record, cell = request.record, generator.codec.downscale
    paint = _painted(generator, record)
    height, width = paint.shape
    cells = paint.reshape(height // cell, cell, width // cell, cell).any(axis=(1, 3))
    shows = _shows_mask(generator) and record.photo is not None
    masked = encoded.photos[_name(record.photo, paint)] if shows and record.photo is not None else None
    return Repaint(keep=torch.from_numpy(~cells), masked=masked)


def _noise(generator: Generator, request: SampleRequest) -> Noise:
    sampling, key = generator.spec.sampling, request.record.key
    if sampling.seed_to is None:
        return NoiseKey(sampling.seed, key, request.variant)
    share = share_of(request.variant, request.variants)
    return NoisePath(NoiseKey(sampling.seed, key, 0), NoiseKey(sampling.seed_to, key, 0), share)


def _prompt(generator: Generator, request: SampleRequest) -> KeyedTensor:
    sampling, prompts = generator.spec.sampling, generator.prompts
    own = KeyedTensor(prompt_name(request.prompt), prompts.embed(request.prompt))
    share = share_of(request.variant, request.variants)
    if sampling.prompt_to is None or share == 0:
        return own
    between = lerp if sampling.interpolation == "lerp" else slerp
    name = f"{own.name} {prompt_name(sampling.prompt_to)} {share}"
    return KeyedTensor(name, between(own.values, prompts.embed(sampling.prompt_to), share))


def _name(*images: NDArray[np.generic] | None) -> str:
    digest = hashlib.sha256()
    for image in images:
        if image is not None:
            digest.update(image.tobytes())
    return digest.hexdigest()
