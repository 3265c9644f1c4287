"""Between canvases and rows: what each row sees of its canvas, and sums of rows at their places in it."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from dentgen.diffusion.networks import EngineShape
from dentgen.diffusion.tick_numbers import TickNumbers


class RowPlaces:
    """Crops and sums; in an engine without windows every row sees its whole canvas."""

    def __init__(self, shape: EngineShape, device: torch.device) -> None:
        """Take the sizes of canvases and rows."""
        self._windowed = shape.row_size != shape.latent_size
        height, width = shape.row_size
        self._down = torch.arange(height, device=device)
        self._right = torch.arange(width, device=device)
        self._canvases = torch.arange(shape.canvas_slots, device=device)[:, None, None]
        self._size = shape.latent_size

    def cropped(self, canvases: Float[Tensor, "slot c H W"], numbers: TickNumbers) -> Float[Tensor, "row c h w"]:
        """Each row's part of its canvas."""
        if not self._windowed:
            return canvases.index_select(0, numbers.row_canvas)
        down = (numbers.regions.top[:, None] + self._down)[:, :, None]
        right = (numbers.regions.left[:, None] + self._right)[:, None]
        found: Tensor = canvases.permute(0, 2, 3, 1)[numbers.row_canvas[:, None, None], down, right]
        return found.permute(0, 3, 1, 2).contiguous()

    def summed(
        self, rows: Float[Tensor, "row c h w"], weights: Float[Tensor, "max_rows slot"], numbers: TickNumbers
    ) -> Float[Tensor, "slot c H W"]:
        """Weighted sum of each canvas's rows at their places, in a fixed order: bits do not depend on row slots.

        Args:
            rows: Values of rows.
            weights: Weights of each canvas's rows; where there is no row, they do not count.
            numbers: Numbers of the tick.
        """
        if not self._windowed:
            return self._whole_sum(rows, weights, numbers)
        total = rows.new_zeros(len(weights[0]), *self._size, rows.shape[1])
        for places, used, weight in zip(numbers.places, numbers.used, weights, strict=True):
            down = (numbers.regions.top[places][:, None] + self._down)[:, :, None]
            right = (numbers.regions.left[places][:, None] + self._right)[:, None]
            further = (rows.index_select(0, places) * _wide(weight)).permute(0, 2, 3, 1)
            there = total[self._canvases, down, right]
            total[self._canvases, down, right] = torch.where(_wide(used), there + further, there)
        return total.permute(0, 3, 1, 2).contiguous()

    @staticmethod
    def _whole_sum(rows: Tensor, weights: Tensor, numbers: TickNumbers) -> Tensor:
        first, *others = numbers.places
        total = rows.index_select(0, first) * _wide(weights[0])
        for places, used, weight in zip(others, numbers.used[1:], weights[1:], strict=True):
            total = torch.where(_wide(used), total + rows.index_select(0, places) * _wide(weight), total)
        return total


def _wide(values: Tensor) -> Tensor:
    return values[:, None, None, None]
