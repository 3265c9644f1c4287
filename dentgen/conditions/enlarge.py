"""Enlarging of maps and pictures: each kind by the filter that keeps its meaning; labels are never enlarged here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dentgen.records import ConditionName, MapArray

#: An array (H, W) or (H, W, 3) and the height and width that it is enlarged to.
Enlarge = Callable[[Any, tuple[int, int]], Any]


def enlarges(array: MapArray, shape: tuple[int, int]) -> bool:
    """Whether a height and width are larger than those of an array, and neither is smaller."""
    height, width = array.shape[:2]
    return shape != (height, width) and shape[0] >= height and shape[1] >= width


def enlarged_picture(picture: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """A picture (H, W, 3), by Lanczos' filter."""
    return np.asarray(Image.fromarray(picture).resize((shape[1], shape[0]), Image.Resampling.LANCZOS))


def enlarged_levels(levels: MapArray, shape: tuple[int, int]) -> MapArray:
    """A map (H, W) without empty places, such as curvature: bilinear."""
    return _rounded(_bilinear(levels.astype(np.float32), shape), levels)


def enlarged_surface(levels: MapArray, shape: tuple[int, int]) -> MapArray:
    """A map (H, W) that is 0 where there is no surface, such as depth: bilinear within the surface.

    Where a surface ends, it ends as it does in labels, at the edge of a pixel: levels are not mixed with emptiness.
    """
    surface = np.asarray(levels > 0)
    shares, inside = _within(surface, shape)
    mean = _bilinear(levels.astype(np.float32) * surface, shape) / np.maximum(shares, 1e-6)
    return _rounded(np.where(inside, np.maximum(mean, 1), 0).astype(np.float32), levels)


def enlarged_normals(normals: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Normals (H, W, 3), (0, 0, 0) for no surface: bilinear within the surface, and unit vectors again."""
    surface = np.asarray((normals > 0).any(-1))
    vectors = (normals.astype(np.float32) / 127.5 - 1) * surface[..., None]
    _, inside = _within(surface, shape)
    mixed = np.stack([_bilinear(vectors[..., axis], shape) for axis in range(3)], -1)
    length = np.linalg.norm(mixed, axis=-1, keepdims=True)
    inside = inside & (length[..., 0] > 1e-3)
    unit = np.where(inside[..., None], mixed / np.maximum(length, 1e-3), 0)
    return np.where(inside[..., None], np.rint(127.5 * unit + 127.5), 0).astype(np.uint8)


#: How each condition is enlarged; those that are missing are labels.
ENLARGED: Final[dict[ConditionName, Enlarge]] = {
    "lighting": enlarged_surface,
    "normal": enlarged_normals,
    "curvature": enlarged_levels,
    "depth": enlarged_surface,
}


def _within(surface: NDArray[np.bool_], shape: tuple[int, int]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Share of the surface in what each new pixel is mixed from, and where the surface is, by nearest neighbour."""
    nearest = Image.fromarray(surface.astype(np.uint8)).resize((shape[1], shape[0]), Image.Resampling.NEAREST)
    return _bilinear(surface.astype(np.float32), shape), np.asarray(nearest) > 0


def _bilinear(values: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    return np.asarray(Image.fromarray(values).resize((shape[1], shape[0]), Image.Resampling.BILINEAR))


def _rounded(values: NDArray[np.float32], like: MapArray) -> MapArray:
    rounded = np.clip(np.rint(values), 0, np.iinfo(like.dtype).max)
    return rounded.astype(np.uint8) if like.dtype == np.uint8 else rounded.astype(np.uint16)
