"""Findings to regions of a canvas: prompts, and masks on the grid of latents."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor

from dentgen.diffusion.keyed_tensor import KeyedTensor
from dentgen.diffusion.regions import Bootstrap, Layers, Region
from dentgen.generation.findings import region_prompt
from dentgen.generation.generator import Generator
from dentgen.models.text import prompt_name
from dentgen.records import SampleRequest
from dentgen.spec.findings import FindingSpec


def request_layers(generator: Generator, request: SampleRequest, white: Tensor | None) -> Layers:
    """Regions of a sample's findings, in the order of the spec.

    Args:
        generator: Models and settings.
        request: The sample.
        white: Latents (4, h, w) of a white picture, if regions begin on white.
    """
    if request.finding_labels is None:
        return Layers()
    drawn = {finding.label for finding in request.findings}
    wanted = [(n, each) for n, each in enumerate(generator.spec.findings, 1) if n in drawn and each.prompt is not None]
    cell = generator.codec.downscale
    regions = [
        Region(
            prompt=_prompt(generator, region_prompt(finding, request.prompt)),
            mask=latent_mask(request.finding_labels == label, finding, cell),
            negative=_negative(generator, finding),
            edge=finding.edge,
            start=finding.start,
            end=finding.end,
            prompt_strength=finding.prompt_strength,
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
    return torch.from_numpy(np.clip(finding.strength * cell_mask(inside, finding.blur, cell), 0, 1))


def cell_mask(mask: NDArray[np.bool_] | NDArray[np.float32], blur: float, cell: int) -> NDArray[np.float32]:
    """The largest value (h, w) of each latent's pixels, float32.

    Args:
        mask: (H, W) pixels in 0..1.
        blur: Sigma of a Gaussian blur before, pixels; 0: none.
        cell: Edge of a latent, pixels.
    """
    values = mask.astype(np.float32)
    if blur:
        values = gaussian_filter(values, blur)
    height, width = values.shape
    cells: NDArray[np.float32] = values.reshape(height // cell, cell, width // cell, cell).max((1, 3))
    return cells


def _prompt(generator: Generator, prompt: str) -> KeyedTensor:
    return KeyedTensor(prompt_name(prompt), generator.prompts.embed(prompt))


def _negative(generator: Generator, finding: FindingSpec) -> KeyedTensor | None:
    negative = finding.negative_prompt
    if negative is None or generator.spec.sampling.first_rows == 1:
        return None
    return _prompt(generator, negative)


def _bootstrap(generator: Generator, white: Tensor | None) -> Bootstrap | None:
    if white is None:
        return None
    settings = generator.spec.regions
    stride = generator.deepest_cell if settings.centre else 0
    mix_steps = float(settings.bootstrap_steps) if settings.mix_steps is None else settings.mix_steps
    return Bootstrap(white, settings.bootstrap_steps, mix_steps, settings.leak, stride)
