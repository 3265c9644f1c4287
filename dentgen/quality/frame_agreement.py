"""How far frames of one series agree once their motion is undone: flicker, and structure that does not move along."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Floats = NDArray[np.float64]
#: Steps of the fixed-point iteration that inverts a motion.
_STEPS: Final = 12
#: A point whose motion leads this close to where it should was found.
_FOUND: Final = 0.25
#: Image size, pixels, for which the following lengths are given.
_EDGE: Final = 128
#: Standard deviation of the blur that is taken off before structure is compared.
_BLUR: Final = 8.0
#: Points that move less between two frames cannot tell what moves along from what stays.
_LEAST_MOTION: Final = 3.0
#: Fewer points say nothing.
_LEAST_POINTS: Final = 64


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Where the points at the pixels of a series' first frame lie in another frame.

    Attributes:
        row, column: (H, W) float64, 0 at the middle of the first pixel.
        seen: (H, W) whether they are seen there.
    """

    row: Floats
    column: Floats
    seen: NDArray[np.bool_]

    def values(self, picture: NDArray[np.generic]) -> Floats:
        """A picture (H, W) or (H, W, c) of that frame, at these places by bilinear interpolation."""
        planes = np.atleast_3d(picture).astype(np.float64)
        at = [
            ndimage.map_coordinates(planes[..., c], (self.row, self.column), order=1, mode="nearest")
            for c in range(planes.shape[-1])
        ]
        return np.stack(at, -1).reshape(*self.row.shape, *picture.shape[2:])


def places_of(motion: NDArray[np.float32] | None, shape: tuple[int, int]) -> Places:
    """Invert the motion of a frame.

    Args:
        motion: (H, W, 2) as ``ConditionRecord.motion``; None if nothing moves.
        shape: Height and width.
    """
    row, column = np.mgrid[: shape[0], : shape[1]].astype(np.float64)
    if motion is None:
        return Places(row, column, np.ones(shape, bool))
    hidden: NDArray[np.bool_] = np.asarray(np.isnan(motion).any(-1))
    if hidden.all():
        return Places(row, column, ~hidden)
    nearest = ndimage.distance_transform_edt(hidden, return_distances=False, return_indices=True)
    known = Places(row, column, ~hidden)
    filled = motion[tuple(nearest)].astype(np.float64)
    for _ in range(_STEPS):
        moved = known.values(filled)
        known = Places(row - moved[..., 1], column - moved[..., 0], known.seen)
    moved = known.values(filled)
    error = np.hypot(known.column + moved[..., 0] - column, known.row + moved[..., 1] - row)
    return Places(known.row, known.column, (error < _FOUND) & _inside(known, ~hidden))


def _inside(places: Places, seen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether places lie within the picture, among pixels that are all ``seen``."""
    height, width = seen.shape
    within = (places.row >= 0) & (places.row <= height - 1) & (places.column >= 0) & (places.column <= width - 1)
    inside: NDArray[np.bool_] = within & (places.values(seen) > 1 - 1e-6)
    return inside


def undone(frames: Sequence[NDArray[np.generic]], places: Sequence[Places]) -> list[Floats]:
    """Frames (H, W, 3) with their motion undone: each at the points of the first one."""
    return [place.values(frame) for place, frame in zip(places, frames, strict=True)]


def flicker(
    frames: Sequence[NDArray[np.generic]],
    places: Sequence[Places],
    references: Sequence[NDArray[np.generic]] | None = None,
) -> float:
    """Mean absolute difference of consecutive frames at the same points, in the frames' own unit.

    Args:
        frames: (H, W, 3) each, motion undone.
        places: Where the points of the first frame lie in each.
        references: Pictures of the same scene, motion undone, that change only as they should: their differences are
            taken off. None takes off nothing.
    """
    steps = []
    for one, other in pairwise(range(len(frames))):
        seen = places[one].seen & places[other].seen
        change = _difference(frames, one, other)
        if references is not None:
            change -= _difference(references, one, other)
        steps.append(np.abs(change[seen]).mean() if seen.any() else np.nan)
    return float(np.nanmean(steps))


def _difference(pictures: Sequence[NDArray[np.generic]], one: int, other: int) -> Floats:
    return pictures[other].astype(np.float64) - pictures[one].astype(np.float64)


@dataclass(frozen=True, slots=True)
class Persistence:
    """What two pictures of a moving surface share.

    Attributes:
        surface: Correlation, -1..1, at the same points of the surface: structure that moves along.
        screen: Correlation at the same pixels: structure that stays while the surface moves, ghosting.
    """

    surface: float
    screen: float


def persistence(frames: Sequence[NDArray[np.generic]], places: Sequence[Places], lag: int) -> Persistence:
    """Correlations of fine structure between frames that lie ``lag`` apart, at points that have moved by then.

    Args:
        frames: (H, W, 3) each: pictures without what labels and light decide.
        places: Where the points of the first frame lie in each.
        lag: Frames between the two that are compared; the last frames are compared with the first.
    """
    fine = [_fine(frame) for frame in frames]
    found = [_pair(fine, places, number, (number + lag) % len(fine)) for number in range(len(fine))]
    surface, screen = np.array(found).T
    if np.isnan(surface).all():
        return Persistence(float("nan"), float("nan"))
    return Persistence(float(np.nanmean(surface)), float(np.nanmean(screen)))


def _pair(fine: Sequence[Floats], places: Sequence[Places], one: int, other: int) -> tuple[float, float]:
    here, there = places[one], places[other]
    scale = min(here.seen.shape) / _EDGE
    moved = np.hypot(there.row - here.row, there.column - here.column) > _LEAST_MOTION * scale
    points = here.seen & there.seen & moved
    if points.sum() < _LEAST_POINTS:
        return float("nan"), float("nan")
    at_one = here.values(fine[one])[points]
    pictures = there.values(fine[other])[points], here.values(fine[other])[points]
    return _correlation(at_one, pictures[0]), _correlation(at_one, pictures[1])


def _fine(picture: NDArray[np.generic]) -> Floats:
    values, sigma = picture.astype(np.float64), _BLUR * min(picture.shape[:2]) / _EDGE
    return values - np.stack([ndimage.gaussian_filter(values[..., c], sigma) for c in range(values.shape[-1])], -1)


def _correlation(one: Floats, other: Floats) -> float:
    a, b = (values.ravel() - values.mean() for values in (one, other))
    norm = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / norm if norm > 0 else float("nan")
