"""Images of a unit's requests as latents: every distinct one is encoded once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dentgen.diffusion.keyed_tensor import KeyedTensor
from dentgen.diffusion.networks import LATENT_CHANNELS
from dentgen.generation.generator import ControlRoute, Generator
from dentgen.generation.pasting import repaint_mask
from dentgen.records import SampleRequest

Image = NDArray[np.uint8]


def encode_conditions(
    generator: Generator, requests: Sequence[SampleRequest], known: Mapping[tuple[str, str], KeyedTensor]
) -> dict[tuple[str, str], KeyedTensor]:
    """The encoded control images of requests.

    Args:
        generator: Models and settings.
        requests: The requests.
        known: What was encoded before and may be needed again.

    Returns:
        Latents (c, h, w) by what encoded them and the image's name.
    """
    encoded: dict[tuple[str, str], KeyedTensor] = {}
    for route in generator.routes:
        encoder = encoder_of(generator, route)
        shown = [each for request in requests for each in (request.controls, request.reference_controls)]
        images = {image_name(each[route.branch]): each[route.branch] for each in shown if route.branch in each}
        encoded |= {(encoder, name): known[encoder, name] for name in images if (encoder, name) in known}
        new = {name: image for name, image in images.items() if (encoder, name) not in encoded}
        values = _encode(generator, route, list(new.values()))
        encoded |= {(encoder, name): KeyedTensor(name, v) for name, v in zip(new, values, strict=True)}
    return encoded


def encoder_of(generator: Generator, route: ControlRoute) -> str:
    """What encodes a route's images: the autoencoder for every ctrLoRA, a ControlNet's own hint embedding otherwise."""
    return route.network if route.network in generator.bundle.full else "autoencoder"


def _encode(generator: Generator, route: ControlRoute, images: list[Image]) -> list[Tensor]:
    full = generator.bundle.full.get(route.network)
    if full is None:
        return generator.codec.encode_control(images)
    return [generator.codec.on_device(partial(full.embed, image)) for image in images]


def encode_photos(generator: Generator, requests: Sequence[SampleRequest]) -> dict[str, Tensor]:
    """The encoded photos of requests by name, and what an inpainting UNet sees of them; none if none is needed."""
    if not generator.spec.sampling.needs_photo:
        return {}
    records = {request.record.key: request.record for request in requests}
    photos = {image_name(record.photo): record.photo for record in records.values() if record.photo is not None}
    encoded = dict(zip(photos, generator.codec.encode_pictures(list(photos.values())), strict=True))
    if not has_inpainting_unet(generator):
        return encoded
    named = {}
    for request in requests:
        if (photo := request.record.photo) is not None:
            paint = repaint_mask(request, generator.spec.sampling)
            named[image_name(photo, paint)] = (photo, ~paint)
    masked = generator.codec.encode_masked([photo for photo, _ in named.values()], [keep for _, keep in named.values()])
    return {**encoded, **dict(zip(named, masked, strict=True))}


def has_inpainting_unet(generator: Generator) -> bool:
    """Whether the UNet sees mask and masked photo as further input channels."""
    sees_mask = int(generator.bundle.unet.config["in_channels"]) > LATENT_CHANNELS
    return sees_mask and bool(generator.spec.sampling.repaint)


def image_name(*images: NDArray[np.generic]) -> str:
    """Content hash; equal images are encoded once."""
    digest = hashlib.sha256()
    for image in images:
        digest.update(image.tobytes())
    return digest.hexdigest()
