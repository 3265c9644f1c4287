"""Findings to regions of a canvas: prompts, and masks on the grid of latents."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor

from dentgen.diffusion.interpolation import lerp
from dentgen.diffusion.keyed_tensor import KeyedTensor
from dentgen.diffusion.regions import Bootstrap, Layers, Region
from dentgen.generation.findings import region_prompt
from dentgen.generation.generator import Generator
from dentgen.models.text import prompt_name
from dentgen.records import SampleRequest
from dentgen.spec.findings import FindingSpec


def request_layers(generator: Generator, request: SampleRequest, own: KeyedTensor, white: Tensor | None) -> Layers:
    """Regions of a sample's findings, in the order of the spec.

    Args:
        generator: Models and settings.
        request: The sample.
        own: Embeddings of its own prompt.
        white: Latents (4, h, w) of a white picture, if regions begin on white.
    """
    if request.finding_labels is None:
        return Layers()
    drawn = {finding.label for finding in request.findings}
    wanted = [(n, each) for n, each in enumerate(generator.spec.findings, 1) if n in drawn and each.prompt is not None]
    cell = generator.codec.downscale
    regions = [
        Region(
            prompt=_prompt(generator, finding, request.prompt, own),
            mask=latent_mask(request.finding_labels == label, finding, cell),
            negative=_negative(generator, finding),
            edge=finding.edge,
            start=finding.start,
            end=finding.end,
        )
        for label, finding in wanted
    ]
    return Layers.of(regions, generator.table, _bootstrap(generator, white))


def latent_mask(inside: NDArray[np.bool_], finding: FindingSpec, cell: int) -> Tensor:
    """Mask (h, w), 0..1, of latents: blurred, and the largest value of a latent's pixels, so that small ones remain.

    Args:
        inside: (H, W) the finding's pixels.
        finding: Its blur and strength.
        cell: Edge of a latent, pixels.
    """
    values = inside.astype(np.float32)
    if finding.blur:
        values = gaussian_filter(values, finding.blur)
    height, width = values.shape
    cells = values.reshape(height // cell, cell, width // cell, cell).max((1, 3))
    return torch.from_numpy(np.clip(finding.strength * cells, 0, 1))


def _prompt(generator: Generator, finding: FindingSpec, text: str, own: KeyedTensor) -> KeyedTensor:
    prompt, strength = region_prompt(finding, text), finding.prompt_strength
    embedded = generator.prompts.embed(prompt)
    if strength == 1:
        return KeyedTensor(prompt_name(prompt), embedded)
    return KeyedTensor(f"region {own.name} {prompt_name(prompt)} {strength}", lerp(own.values, embedded, strength))


def _negative(generator: Generator, finding: FindingSpec) -> KeyedTensor | None:
    negative = finding.negative_prompt
    if negative is None or generator.spec.sampling.first_rows == 1:
        return None
    return KeyedTensor(prompt_name(negative), generator.prompts.embed(negative))


def _bootstrap(generator: Generator, white: Tensor | None) -> Bootstrap | None:
    if white is None:
        return None
    settings = generator.spec.regions
    stride = generator.deepest_cell if settings.centre else 0
    mix_steps = float(settings.bootstrap_steps) if settings.mix_steps is None else settings.mix_steps
    return Bootstrap(white, settings.bootstrap_steps, mix_steps, settings.leak, stride)
