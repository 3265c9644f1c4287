"""Encoding of large pictures in overlapping tiles of one size, whose latents are blended by weights that sum to one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from dentgen.diffusion.window_grid import fitted
from dentgen.diffusion.windows import cover
from dentgen.errors import SpecError

#: Least share of a tile's edge that its neighbour has too: what an encoder sees of its surroundings fades within it.
OVERLAP: Final = 0.25


def check_tile(tile: int | None, downscale: int) -> None:
    """Check that tiles consist of whole latents.

    Raises:
        SpecError: If they do not.
    """
    if tile is not None and (tile < downscale or tile % downscale):
        raise SpecError(key="model.encode_tile", found=f"{tile} pixels", expected=f"a multiple of {downscale}")


def encode_in_tiles(
    encode: Callable[[Tensor], Tensor], pictures: Float[Tensor, "batch 3 H W"], tile: int | None, downscale: int
) -> Float[Tensor, "batch 4 h w"]:
    """Encode pictures; those larger than a tile in tiles, so that memory does not grow with their size.

    Args:
        encode: Pictures to latents.
        pictures: Of a size in whole latents.
        tile: Edge of a tile, pixels; None: whole pictures.
        downscale: Pixels per latent along an edge.
    """
    height, width = pictures.shape[2] // downscale, pictures.shape[3] // downscale
    if tile is None or max(height, width) * downscale <= tile:
        return encode(pictures)
    total: Tensor | None = None
    for window in cover((height, width), fitted((height, width), tile // downscale), OVERLAP):
        rows, columns = window.weight.shape
        top, left = downscale * window.top, downscale * window.left
        part = pictures[:, :, top : top + downscale * rows, left : left + downscale * columns]
        latents = encode(part.contiguous(memory_format=_format(pictures)))
        total = latents.new_zeros(len(pictures), latents.shape[1], height, width) if total is None else total
        window.crop(total).add_(latents * window.weight.to(latents))
    assert total is not None
    return total


def _format(pictures: Tensor) -> torch.memory_format:
    """Memory format of a batch."""
    is_last = pictures.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if is_last else torch.contiguous_format
