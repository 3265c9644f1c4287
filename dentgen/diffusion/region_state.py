"""Device buffers of regions and windows, what rows see, and how their predictions become one per canvas."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from dentgen.diffusion.networks import EngineShape
from dentgen.diffusion.region_numbers import RegionNumbers
from dentgen.diffusion.regions import quantised
from dentgen.diffusion.row_places import RowPlaces
from dentgen.diffusion.slots import InFlight
from dentgen.diffusion.tick_numbers import TickNumbers


class RegionState:
    """Masks and window weights of all rows, and white latents of all canvases.

    Attributes:
        places: Between canvases and rows.
    """

    def __init__(self, shape: EngineShape, device: torch.device) -> None:
        """Allocate the buffers."""
        s, row_size = shape.slots, shape.row_size
        self._mask = torch.zeros(s, 1, *row_size, device=device)
        self._weight = torch.ones(s, 1, *row_size, device=device)
        self._white = torch.zeros(shape.canvas_slots, *shape.latent, device=device)
        self._centred = shape.centred
        self.places = RowPlaces(shape, device)

    def place(self, flight: InFlight, put: Callable[[Tensor, Tensor], None]) -> None:
        """Write masks, weights and white latents of an admitted canvas with ``put(buffer, values)``."""
        layers = flight.canvas.layers
        for place, row in zip(flight.rows, flight.canvas.rows(flight.step), strict=True):
            if row.window is not None:
                put(self._weight[place], row.window.weight[None])
        self.place_masks(flight, put)
        if layers.bootstrap is not None:
            put(self._white[flight.slot], layers.bootstrap.white)

    def place_masks(self, flight: InFlight, put: Callable[[Tensor, Tensor], None]) -> None:
        """Write the masks of a canvas's regions."""
        for place, row in zip(flight.rows, flight.canvas.rows(flight.step), strict=True):
            if row.layer:
                mask = flight.canvas.layers.regions[row.layer - 1].scaled
                put(self._mask[place], (mask if row.window is None else row.window.crop(mask))[None])

    def inputs(
        self, latents: Float[Tensor, "row 4 h w"], noise: Float[Tensor, "slot 4 H W"], numbers: TickNumbers
    ) -> Float[Tensor, "row 4 h w"]:
        """What each row sees: its canvas's latents, with white around its region during the bootstrap.

        Args:
            latents: Each row's canvas's latents.
            noise: The noise that every canvas started from.
            numbers: Numbers of the tick.
        """
        regions = numbers.regions
        white = self.places.cropped(self._white, numbers) * _wide(regions.white_signal)
        white = white + self.places.cropped(noise, numbers) * _wide(regions.white_noise)
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
    ) -> Float[Tensor, "slot 4 H W"]:
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
        counted = shares * self._weight * _wide(regions.counts)
        cover = self.places.cropped(self.places.summed(counted, torch.ones_like(numbers.weights), numbers), numbers)
        shares = torch.where(_wide(regions.background), (1 - cover).clamp(min=0), shares / cover.clamp(min=1))
        shares = shares * self._weight
        return self.places.summed(torch.where(shares != 0, shares * predictions, 0), numbers.weights, numbers)

    def _shares(self, regions: RegionNumbers) -> Tensor:
        """Quantised masks (row, 1, h, w); 0 for rows of the background."""
        shares = quantised(self._mask, _wide(regions.low), _wide(regions.high))
        return torch.where(_wide(regions.background), 0, shares)

    def _without_leaks(self, shares: Tensor, rows: Tensor, seen: Tensor, numbers: TickNumbers) -> Tensor:
        """Masks without the parts where white stayed white (section 3.2)."""
        regions = numbers.regions
        clean = _wide(regions.clean_latents) * seen + _wide(regions.clean_prediction) * rows
        distance = (clean - self.places.cropped(self._white, numbers)).square().mean(1, keepdim=True)
        kept = 2 * torch.sigmoid(distance * _wide(regions.leak)) - 1
        return torch.where(_wide(regions.leak) != 0, shares * kept, shares)


def _wide(values: Tensor) -> Tensor:
    return values[:, None, None, None]
