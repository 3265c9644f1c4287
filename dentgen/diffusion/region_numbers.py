"""What one tick reads of regions and windows: places, thresholds of masks, white surroundings, shifts; by row slot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dentgen.diffusion.guidance import Row
from dentgen.diffusion.regions import Bootstrap, CleanLatents, Region
from dentgen.diffusion.slots import InFlight


@dataclass(slots=True, eq=False)
class RegionNumbers:
    """Numbers of one tick by row slot.

    Attributes:
        background: Whether the row belongs to no region.
        counts: 1 for the one row of every region that counts as its cover, 0 for others.
        low, high: Thresholds of the row's mask.
        white: Share of white around the region; 0 where the row sees the picture.
        white_signal, white_noise: Factors of white latents and noise.
        down, right: How far the row is moved, latents.
        correction: Factor that turns the prediction into one for the canvas's latents.
        clean_latents, clean_prediction: Factors of the row's clean latents.
        leak: Reciprocal of the leak test's sensitivity; 0: no test.
        top, left: Where the row's window begins in its canvas, latents.
    """

    background: Bool[Tensor, " row"]
    counts: Float[Tensor, " row"]
    low: Float[Tensor, " row"]
    high: Float[Tensor, " row"]
    white: Float[Tensor, " row"]
    white_signal: Float[Tensor, " row"]
    white_noise: Float[Tensor, " row"]
    down: Int[Tensor, " row"]
    right: Int[Tensor, " row"]
    correction: Float[Tensor, " row"]
    clean_latents: Float[Tensor, " row"]
    clean_prediction: Float[Tensor, " row"]
    leak: Float[Tensor, " row"]
    top: Int[Tensor, " row"]
    left: Int[Tensor, " row"]

    @classmethod
    def idle(cls, slots: int) -> RegionNumbers:
        """Numbers of rows without regions; no rows if there are no slots."""
        return cls(
            background=torch.ones(slots, dtype=torch.bool),
            counts=torch.zeros(slots),
            low=torch.zeros(slots),
            high=torch.zeros(slots),
            white=torch.zeros(slots),
            white_signal=torch.zeros(slots),
            white_noise=torch.zeros(slots),
            down=torch.zeros(slots, dtype=torch.long),
            right=torch.zeros(slots, dtype=torch.long),
            correction=torch.zeros(slots),
            clean_latents=torch.zeros(slots),
            clean_prediction=torch.zeros(slots),
            leak=torch.zeros(slots),
            top=torch.zeros(slots, dtype=torch.long),
            left=torch.zeros(slots, dtype=torch.long),
        )


def fill_regions(arrays: Any, flight: InFlight) -> None:
    """Fill in the numbers of a canvas's region rows.

    Args:
        arrays: A ``RegionNumbers`` as numpy arrays.
        flight: The canvas.
    """
    layers = flight.canvas.layers
    for place, row in zip(flight.rows, flight.canvas.rows(flight.step), strict=True):
        if row.window is not None:
            arrays.top[place], arrays.left[place] = row.window.top, row.window.left
        if row.layer:
            _fill_row(arrays, place, row, layers.regions[row.layer - 1], flight)


def _fill_row(arrays: Any, place: int, row: Row, region: Region, flight: InFlight) -> None:
    table, step, bootstrap = flight.canvas.table, flight.step, flight.canvas.layers.bootstrap
    arrays.background[place] = False
    arrays.counts[place] = row.counts
    arrays.low[place], arrays.high[place] = region.thresholds(table, step)
    if bootstrap is not None and bootstrap.white_share(step):
        share = region.share(table, step)
        _fill_bootstrap(arrays, place, share if row.window is None else row.window.crop(share), bootstrap, flight)


def _fill_bootstrap(arrays: Any, place: int, share: Tensor, bootstrap: Bootstrap, flight: InFlight) -> None:
    table, step = flight.canvas.table, flight.step
    clean = CleanLatents.at(table, step)
    arrays.white[place] = bootstrap.white_share(step)
    arrays.white_signal[place], arrays.white_noise[place] = table.signal[step], table.noise[step]
    arrays.down[place], arrays.right[place] = bootstrap.shift(share)
    arrays.correction[place] = clean.correction
    arrays.clean_latents[place], arrays.clean_prediction[place] = clean.latents, clean.prediction
    arrays.leak[place] = 1 / bootstrap.leak if bootstrap.leak else 0.0
