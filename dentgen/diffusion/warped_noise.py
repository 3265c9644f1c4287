"""Noise that moves with a surface: the frames of a series share one field, carried along a motion that is known.

Latents are drawn finer than they are, as many values per latent as it has pixels, and each latent of a frame takes
values of the shared fine field from where its pixels lie there.

Why every frame's noise is standard normal and independent: let n be the pixels of a latent. Its fine values are
c / sqrt(n) + z_i - mean(z) for the shared latent c and independent standard normal z_i. Their covariance is
1/n + (1 if i = j else 0) - 1/n, so they are independent standard normals whose sum over sqrt(n) is c. A frame's latent
is the sum of m fine values over sqrt(m), hence standard normal; no two pixels of a frame take the same value, so its
latents are sums over disjoint sets of independent values, hence independent. Where the shared field has nothing for a
pixel, it takes a value of a second field, likewise at its own place and once only.

The mean of a channel decides the tint of the whole picture, so all frames have the same one. Of independent standard
normals the mean is independent of what they are without it; so the shared field is carried with a mean of its own, and
the carried latents then get the mean of the shared ones in place of theirs: each is what a draw of both is.

The idea is that of Chang et al., "How I Warped Your Noise: a Temporally-Correlated Noise Prior for Diffusion Models",
ICLR 2024: condition a finer field on the latents, carry it, and sum; here with pixels in place of polygons.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dentgen.diffusion.canvas import Noise

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Transport:
    """Where the latents of one frame take their noise from.

    The shared field has the frame's size and a border of a quarter of it on every side, because what a frame shows may
    lie outside of the reference frame.

    Attributes:
        cell: Edge of a latent, pixels.
        border: Height and width of the border, latents.
        source: (H, W) index into the flat fine field that a pixel takes a value of; -1 for none.
        own: (H, W) pixels that take a value of the second field.
        whole: (h, w) index into the flat coarse field of latents whose pixels all lie in that one; -1 elsewhere.
    """

    cell: int
    border: tuple[int, int]
    source: IntArray
    own: BoolArray
    whole: IntArray

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of a frame, latents."""
        return self.whole.shape[0], self.whole.shape[1]

    @property
    def is_still(self) -> bool:
        """Whether every latent takes that of its own place."""
        inner = np.arange(np.prod(self.field)).reshape(self.field)
        (top, left), (height, width) = self.border, self.shape
        return bool((self.whole == inner[top : top + height, left : left + width]).all())

    @property
    def field(self) -> tuple[int, int]:
        """Height and width of the shared field, latents."""
        return self.shape[0] + 2 * self.border[0], self.shape[1] + 2 * self.border[1]


def transport(motion: NDArray[np.float32], cell: int) -> Transport:
    """Where a frame takes its noise from.

    Each pixel asks for the value of the pixel that it lies in. Of several that ask for the same one, the pixel nearest
    to its centre gets it, the first of equals; the others add nothing.

    Args:
        motion: (H, W, 2) from the middle of each pixel to its place in the reference frame, pixels right and down;
            NaN where it is hidden there.
        cell: Edge of a latent, pixels; H and W are multiples of it.

    Raises:
        ValueError: If they are not.
    """
    height, width = motion.shape[:2]
    if height % cell or width % cell:
        raise ValueError(f"motion: found {height} x {width} pixels, expected multiples of {cell}")
    border = -(-height // (4 * cell)), -(-width // (4 * cell))
    down, right, known = _places(motion, (border[0] * cell, border[1] * cell))
    columns = width + 2 * border[1] * cell
    index = np.where(known, np.floor(down) * columns + np.floor(right), -1).astype(np.int64)
    offset = (down % 1 - 0.5) ** 2 + (right % 1 - 0.5) ** 2
    source = _once(index, offset)
    lost = np.repeat(np.repeat(_blocks((source >= 0) | ~known, cell).sum((1, 3)) == 0, cell, 0), cell, 1)
    return Transport(cell, border, source, ~known | lost, _whole(source, cell, columns))


def _places(motion: NDArray[np.float32], border: tuple[int, int]) -> tuple[FloatArray, FloatArray, BoolArray]:
    """Rows and columns (H, W) of the pixels in the padded field, 0 where unknown, and where they are known."""
    height, width = motion.shape[:2]
    row, column = np.mgrid[:height, :width] + 0.5
    right, down = column + motion[..., 0] + border[1], row + motion[..., 1] + border[0]
    with np.errstate(invalid="ignore"):
        known = (down >= 0) & (down < height + 2 * border[0]) & (right >= 0) & (right < width + 2 * border[1])
    return np.where(known, down, 0.0), np.where(known, right, 0.0), known


def _once(index: IntArray, offset: FloatArray) -> IntArray:
    """``index`` where a pixel gets the value that it asks for, -1 elsewhere."""
    asking = np.flatnonzero(index >= 0)
    order = asking[np.lexsort((offset.ravel()[asking], index.ravel()[asking]))]
    wanted = index.ravel()[order]
    first = np.ones(len(order), bool)
    first[1:] = wanted[1:] != wanted[:-1]
    source = np.full(index.size, -1, np.int64)
    source[order[first]] = wanted[first]
    return source.reshape(index.shape)


def _whole(source: IntArray, cell: int, columns: int) -> IntArray:
    """(h, w) index of the coarse latent that all pixels of a latent come from, -1 if there is none."""
    coarse = np.where(source >= 0, source // columns // cell * (columns // cell) + source % columns // cell, -1)
    blocks = _blocks(coarse, cell)
    low, high = blocks.min((1, 3)), blocks.max((1, 3))
    return np.where(low == high, low, -1)


def _blocks(values: NDArray[np.generic], cell: int) -> NDArray[np.generic]:
    """(h, cell, w, cell) view of (H, W)."""
    height, width = values.shape
    return values.reshape(height // cell, cell, width // cell, cell)


@dataclass(frozen=True, slots=True, eq=False)
class WarpedNoise:
    """The noise of one frame of a series, with the interface of ``NoiseKey``.

    Without motion it is the shared noise bit for bit; where all pixels of a latent lie in one latent of the reference
    frame, it has that latent's noise, but for a constant of the channel: all frames have the mean of the shared noise.

    Attributes:
        shared: Noise of the series.
        transport: Where this frame takes it from.
    """

    shared: Noise
    transport: Transport

    def normal(self, purpose: str, step: int, shape: tuple[int, ...]) -> Tensor:
        """Standard normal float32 values of ``shape``, on the CPU.

        Raises:
            ValueError: If ``shape`` is not that of a frame.
        """
        way = self.transport
        if len(shape) != 3 or shape[1:] != way.shape:
            raise ValueError(f"noise: found shape {shape}, expected (channels, {way.shape[0]}, {way.shape[1]})")
        shared = self.shared.normal(purpose, step, shape)
        if way.is_still:
            return shared
        mean = shared.double().numpy().mean((1, 2), keepdims=True)
        coarse = self._coarse(shared.double().numpy() - mean, purpose, step)
        taken = way.source >= 0
        fine = self._fine(coarse, purpose, step).reshape(shape[0], -1)[:, np.where(taken, way.source, 0)]
        values = np.where(taken, fine, np.where(way.own, self._own(purpose, step, shape[0]), 0.0))
        count = _sums((taken | way.own)[None].astype(np.float64), way.cell)
        moved = _sums(values, way.cell) / np.sqrt(count)
        moved = np.where(way.whole >= 0, coarse.reshape(shape[0], -1)[:, way.whole], moved)
        return torch.from_numpy((moved - moved.mean((1, 2), keepdims=True) + mean).astype(np.float32))

    def _coarse(self, middle: FloatArray, purpose: str, step: int) -> FloatArray:
        """The shared field with its border: in its middle (c, h, w) the shared noise, with another mean."""
        way, channels = self.transport, len(middle)
        field = self.shared.normal(f"{purpose}, with border", step, (channels, *way.field)).double().numpy()
        (top, left), (height, width) = way.border, way.shape
        mean = self.shared.normal(f"{purpose}, mean", step, (channels, 1, 1)).double().numpy()
        field[:, top : top + height, left : left + width] = middle + mean / np.sqrt(height * width)
        return field

    def _fine(self, coarse: FloatArray, purpose: str, step: int) -> FloatArray:
        """The shared field at the resolution of pixels."""
        cell, (channels, height, width) = self.transport.cell, coarse.shape
        fine = self.shared.normal(f"{purpose}, fine", step, (channels, height * cell, width * cell)).double().numpy()
        level = coarse / cell - _sums(fine, cell) / cell**2
        return fine + np.repeat(np.repeat(level, cell, 1), cell, 2)

    def _own(self, purpose: str, step: int, channels: int) -> FloatArray:
        """The second field, which every frame of the series has at the same places."""
        height, width = self.transport.source.shape
        return self.shared.normal(f"{purpose}, hidden", step, (channels, height, width)).double().numpy()


def _sums(values: FloatArray, cell: int) -> FloatArray:
    """Sums (c, h, w) over the cells of (c, H, W), added in an order that no platform changes."""
    total = np.zeros((values.shape[0], values.shape[1] // cell, values.shape[2] // cell))
    for i in range(cell):
        for j in range(cell):
            total += values[:, i::cell, j::cell]
    return total
