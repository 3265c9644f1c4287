"""Device buffers of regions, what their rows see, and how their predictions become one per canvas."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from dentgen.diffusion.networks import EngineShape
from dentgen.diffusion.region_numbers import RegionNumbers
from dentgen.diffusion.regions import quantised
from dentgen.diffusion.slots import InFlight
from dentgen.diffusion.tick_numbers import TickNumbers


class RegionState:
    """Masks of all rows, and white latents of all canvases."""

    def __init__(self, shape: EngineShape, device: torch.device) -> None:
        """Allocate the buffers."""
        s, (channels, height, width) = shape.slots, shape.latent
        self._mask = torch.zeros(s, 1, height, width, device=device)
        self._white = torch.zeros(s, channels, height, width, device=device)
        self._centred = shape.centred

    def place(self, flight: InFlight, put: Callable[[Tensor, Tensor], None]) -> None:
        """Write masks and white latents of an admitted canvas with ``put(buffer, values)``."""
        layers = flight.canvas.layers
        for place, row in zip(flight.rows, flight.canvas.rows(flight.step), strict=True):
            if row.layer:
                put(self._mask[place], layers.regions[row.layer - 1].mask[None])
        if layers.bootstrap is not None:
            put(self._white[flight.slot], layers.bootstrap.white)

    def inputs(
        self, latents: Float[Tensor, "row 4 h w"], noise: Float[Tensor, "slot 4 h w"], numbers: TickNumbers
    ) -> Float[Tensor, "row 4 h w"]:
        """What each row sees: its canvas's latents, with white around its region during the bootstrap.

        Args:
            latents: Each row's canvas's latents.
            noise: The noise that every canvas started from.
            numbers: Numbers of the tick.
        """
        regions = numbers.regions
        white = self._white.index_select(0, numbers.row_canvas) * _wide(regions.white_signal)
        white = white + noise.index_select(0, numbers.row_canvas) * _wide(regions.white_noise)
        share = (1 - self._shares(regions)) * _wide(regions.white)
        return torch.where(share != 0, latents + share * (white - latents), latents)

    def moved(self, values: Float[Tensor, "row c h w"], numbers: TickNumbers, *, back: bool = False) -> Tensor:
        """Rows moved to the centre of the picture, around its edges, or back; residuals of deeper levels alike."""
        if not self._centred:
            return values
        height, width = values.shape[2:]
        sign, levels = (1 if back else -1), self._mask.shape[2] // height
        down = torch.arange(height, device=values.device) + sign * (numbers.regions.down // levels)[:, None]
        right = torch.arange(width, device=values.device) + sign * (numbers.regions.right // levels)[:, None]
        places = (down % height)[:, :, None] * width + (right % width)[:, None]
        index = places.flatten(1)[:, None].expand(-1, values.shape[1], -1)
        return values.flatten(2).gather(2, index).view_as(values)

    def combined(
        self,
        rows: Float[Tensor, "row 4 h w"],
        latents: Float[Tensor, "row 4 h w"],
        seen: Float[Tensor, "row 4 h w"],
        numbers: TickNumbers,
    ) -> Float[Tensor, "slot 4 h w"]:
        """One prediction per canvas: shares of regions and background sum to one at every latent.

        Args:
            rows: Predictions.
            latents: Each row's canvas's latents.
            seen: What each row saw, not moved.
            numbers: Numbers of the tick.
        """
        regions = numbers.regions
        for_latents = rows + _wide(regions.correction) * (latents - seen)
        predictions = torch.where(_wide(regions.correction) != 0, for_latents, rows)
        shares = self._without_leaks(self._shares(regions), rows, seen, numbers)
        cover = _sum_of(shares * _wide(regions.counts), torch.ones_like(numbers.weights), numbers)
        cover = cover.index_select(0, numbers.row_canvas)
        shares = torch.where(_wide(regions.background), (1 - cover).clamp(min=0), shares / cover.clamp(min=1))
        return _sum_of(torch.where(shares != 0, shares * predictions, 0), numbers.weights, numbers)

    def _shares(self, regions: RegionNumbers) -> Tensor:
        """Quantised masks (row, 1, h, w); 0 for rows of the background."""
        shares = quantised(self._mask, _wide(regions.low), _wide(regions.high))
        return torch.where(_wide(regions.background), 0, shares)

    def _without_leaks(self, shares: Tensor, rows: Tensor, seen: Tensor, numbers: TickNumbers) -> Tensor:
        """Masks without the parts where white stayed white (section 3.2)."""
        regions = numbers.regions
        clean = _wide(regions.clean_latents) * seen + _wide(regions.clean_prediction) * rows
        distance = (clean - self._white.index_select(0, numbers.row_canvas)).square().mean(1, keepdim=True)
        kept = 2 * torch.sigmoid(distance * _wide(regions.leak)) - 1
        return torch.where(_wide(regions.leak) != 0, shares * kept, shares)


def _sum_of(values: Tensor, weights: Tensor, numbers: TickNumbers) -> Tensor:
    """Weighted sum of each canvas's rows, in a fixed order, so that bits do not depend on row slots.

    Args:
        values: (row, c, h, w).
        weights: (max_rows, slot); rows of weight 0 are left out.
        numbers: Numbers of the tick, for the places of rows.
    """
    first, *others = numbers.places
    total = values.index_select(0, first) * _wide(weights[0])
    for places, used, weight in zip(others, numbers.weights[1:], weights[1:], strict=True):
        total = torch.where(_wide(used) != 0, total + values.index_select(0, places) * _wide(weight), total)
    return total


def _wide(values: Tensor) -> Tensor:
    return values[:, None, None, None]
