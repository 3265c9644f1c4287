"""Painted regions and findings to regions of a canvas: prompts, and masks on the grid of latents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

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
from dentgen.records import PaintedRegion, SampleRequest
from dentgen.spec.findings import FindingSpec


def request_layers(generator: Generator, request: SampleRequest, white: Tensor | None) -> Layers:
    """Regions of a sample: the painted ones of its record, and above them its findings in the order of the spec.

    Painted regions are covered by what lies above them; findings, which never overlap in pixels, share latents.

    Args:
        generator: Models and settings.
        request: The sample.
        white: Latents (4, h, w) of a white picture, if regions begin on white.
    """
    findings = _finding_regions(generator, request)
    painted = [_painted_region(generator, region) for region in request.record.painted]
    shares = visible_shares([region.scaled for region in (*painted, *findings)])
    seen = [replace(region, mask=region.mask * share) for region, share in zip(painted, shares, strict=False)]
    return Layers.of([*seen, *findings], generator.table, _bootstrap(generator, white))


def visible_shares(masks: Sequence[Tensor]) -> list[Tensor]:
    """How much of each mask's place is left by those above it: the product of one minus each of them.

    Args:
        masks: (h, w) in 0..1, times their strengths, the lowest first.
    """
    shares, left = list[Tensor](), torch.ones(())
    for mask in reversed(masks):
        shares.append(left)
        left = left * (1 - mask)
    return shares[::-1]


def painted_prompts(regions: Sequence[PaintedRegion]) -> list[str]:
    """Prompts and negative prompts of painted regions."""
    return [text for each in regions for text in (each.prompt, each.negative_prompt) if text is not None]


def _painted_region(generator: Generator, region: PaintedRegion) -> Region:
    cells = cell_mask(region.mask, region.blur, generator.codec.downscale)
    return Region(
        prompt=embedded(generator, region.prompt),
        mask=torch.from_numpy(np.clip(cells, 0, 1)),
        negative=_negative(generator, region.negative_prompt),
        strength=region.strength,
        prompt_strength=region.prompt_strength,
    )


def _finding_regions(generator: Generator, request: SampleRequest) -> list[Region]:
    if request.finding_labels is None:
        return []
    drawn = {finding.label for finding in request.findings}
    wanted = [(n, each) for n, each in enumerate(generator.spec.findings, 1) if n in drawn and each.prompt is not None]
    cell = generator.codec.downscale
    return [
        Region(
            prompt=embedded(generator, region_prompt(finding, request.prompt)),
            mask=latent_mask(request.finding_labels == label, finding, cell),
            negative=_negative(generator, finding.negative_prompt),
            edge=finding.edge,
            start=finding.start,
            end=finding.end,
            prompt_strength=finding.prompt_strength,
        )
        for label, finding in wanted
    ]


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


def embedded(generator: Generator, prompt: str) -> KeyedTensor:
    """Embeddings of a prompt.

    Raises:
        ConditionError: If it is too long.
    """
    return KeyedTensor(prompt_name(prompt), generator.prompts.embed(prompt))


def negative_words(generator: Generator, negative: str) -> KeyedTensor | None:
    """Embeddings of a region's negative prompt, "" for that of the spec; None if no row would read them.

    Raises:
        ConditionError: If it is too long.
    """
    if generator.spec.sampling.first_rows == 1:
        return None
    return embedded(generator, negative or generator.spec.sampling.negative_prompt)


def _negative(generator: Generator, negative: str | None) -> KeyedTensor | None:
    return None if negative is None else negative_words(generator, negative)


def _bootstrap(generator: Generator, white: Tensor | None) -> Bootstrap | None:
    if white is None:
        return None
    settings = generator.spec.regions
    stride = generator.deepest_cell if settings.centre else 0
    mix_steps = float(settings.bootstrap_steps) if settings.mix_steps is None else settings.mix_steps
    return Bootstrap(white, settings.bootstrap_steps, mix_steps, settings.leak, stride)
