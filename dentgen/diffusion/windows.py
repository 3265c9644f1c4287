"""Windows: a canvas that is larger than the UNet's input, covered by overlapping windows whose weights sum to one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from dentgen.diffusion.window_grid import Size, offsets


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """One window.

    Attributes:
        top: First row of latents.
        left: First column of latents.
        weight: (h, w) share of every latent that this window decides; those of all windows sum to one.
    """

    top: int
    left: int
    weight: Float[Tensor, "h w"]

    def crop(self, values: Tensor) -> Tensor:
        """Its part of values (..., H, W) of a canvas."""
        height, width = self.weight.shape
        return values[..., self.top : self.top + height, self.left : self.left + width]


def cover(size: Size, window: Size, overlap: float = 0.5) -> tuple[Window, ...]:
    """Cover a canvas with as few windows as overlap by a share, evenly spaced, so that none is cropped.

    Weights fall towards the neighbours and stay flat at the canvas's borders.

    Args:
        size: Height and width of the canvas, latents.
        window: Those of a window, at most as large.
        overlap: Least share of a window's edge that its neighbour has too, 0 <= overlap < 1.

    Returns:
        Windows from the upper left to the lower right; one window of weight 1 if it covers everything.
    """
    tops, lefts = (offsets(whole, part, overlap) for whole, part in zip(size, window, strict=True))
    down = [_ramp(top, tops, window[0]) for top in tops]
    across = [_ramp(left, lefts, window[1]) for left in lefts]
    rows, columns = _shares(down, tops, size[0]), _shares(across, lefts, size[1])
    return tuple(
        Window(top, left, (row[:, None] * column).float())
        for top, row in zip(tops, rows, strict=True)
        for left, column in zip(lefts, columns, strict=True)
    )


def _ramp(offset: int, all_offsets: list[int], length: int) -> Tensor:
    """Distance of each place of a window from the edges that a neighbour overlaps; flat without one."""
    places = torch.arange(length, dtype=torch.float64)
    ramp = torch.full((length,), float(length), dtype=torch.float64)
    if offset != all_offsets[0]:
        ramp = torch.minimum(ramp, places + 0.5)
    if offset != all_offsets[-1]:
        ramp = torch.minimum(ramp, length - places - 0.5)
    return ramp


def _shares(ramps: list[Tensor], places: list[int], whole: int) -> list[Tensor]:
    """Ramps over the sum of all that lie at the same place."""
    total = torch.zeros(whole, dtype=torch.float64)
    for offset, ramp in zip(places, ramps, strict=True):
        total[offset : offset + len(ramp)] += ramp
    return [ramp / total[offset : offset + len(ramp)] for offset, ramp in zip(places, ramps, strict=True)]
