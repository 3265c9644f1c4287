"""Skin, gloves and cloth that fill the sides of a picture, as where a cheek is held away or a drape lies.

Distances were chosen by eye against photographs that show little of a mouth and much around it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from dentgen.phantom.anatomy import FloatArray
from dentgen.phantom.camera import Camera
from dentgen.phantom.mesh import Part, Tissue, grid_faces
from dentgen.phantom.surroundings.solids import to_world

#: Values of the ``height`` attribute that tell cloth from the ground behind a head, and a glove from the prop "finger".
CLOTH, GLOVE = 1.0, 1.0
#: Directions from the middle of a picture, and how far each may turn, radians.
_DIRECTIONS: Final = (0.0, np.pi, -np.pi / 2, np.pi / 2)
_TURN: Final = 0.5
#: Vertices along an edge and away from it.
_ALONG, _AWAY = 48, 24
#: Nearest camera before which a sheet fits, mm.
_LEAST_DISTANCE_MM: Final = 60.0


def build_sides(camera: Camera, rng: np.random.Generator) -> list[Part]:
    """Build one to three sheets between the camera and the teeth, each from an edge of the picture inwards.

    Args:
        camera: The camera; its target is at the teeth. None fits before one that nearly touches them.
        rng: Source of number, place, folds and of what each is.
    """
    if camera.distance_mm < _LEAST_DISTANCE_MM:
        return []
    count = 1 + int(rng.choice(3, p=(0.4, 0.35, 0.25)))
    chosen = rng.choice(len(_DIRECTIONS), count, replace=False, p=(0.28, 0.28, 0.28, 0.16))
    return [_side(camera, _DIRECTIONS[number] + rng.uniform(-_TURN, _TURN), rng) for number in chosen]


def _side(camera: Camera, angle: float, rng: np.random.Generator) -> Part:
    """A sheet whose edge crosses the picture; all lengths are mm at its depth, along the edge and away from it."""
    depth = camera.distance_mm * rng.uniform(0.12, 0.3)
    half = camera.width_mm / 2 * (1 - depth / camera.distance_mm)
    along = np.linspace(-2.6, 2.6, _ALONG)[None] * half
    away = np.linspace(0, 1, _AWAY)[:, None] ** 2 * 2.8 * half
    edge = half * rng.uniform(0.35, 0.9) + rng.uniform(-0.3, 0.2) * along**2 / half + _waves(along, half, rng)
    kind = _KINDS[rng.choice(len(_KINDS), p=_KIND_SHARES)]
    tissue, folds, attributes = kind(away, along, half, rng)
    rounded = rng.uniform(0.1, 0.35) * half * np.exp(-away / (0.2 * half))
    outward, sideways = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    plane = (edge + away)[..., None] * outward + np.broadcast_to(along, folds.shape)[..., None] * sideways
    points = np.concatenate([plane, (depth - rounded + folds)[..., None]], -1).reshape(-1, 3)
    flat = {name: np.broadcast_to(values, folds.shape).reshape(-1) for name, values in attributes.items()}
    faces = grid_faces(_AWAY, _ALONG)
    return Part(to_world(points, camera), faces, tissue, 0, flat, facing=camera.axes[2])


_Sheet = tuple[Tissue, FloatArray, dict[str, FloatArray]]


def _skin(away: FloatArray, along: FloatArray, half: float, rng: np.random.Generator) -> _Sheet:
    """A cheek or lip that is held away: often with the red of a lip along its edge."""
    red = rng.uniform(3.0, 8.0) if rng.random() < 0.5 else 0.0
    hills = 0.06 * half * np.sin(along / half * rng.uniform(0.6, 1.6) + away / half * 1.3 + rng.uniform(0, 6))
    moist = np.clip(1 - away / 2.5, 0, 1) * (red > 0)
    return Tissue.SKIN, hills, {"margin_mm": away - red + 0.01, "height": moist}


def _glove(away: FloatArray, along: FloatArray, half: float, rng: np.random.Generator) -> _Sheet:
    """A hand: fingers side by side."""
    width = rng.uniform(0.35, 0.7) * half
    fingers = 0.35 * width * np.abs(np.cos(np.pi * (along + 0.1 * away) / width + rng.uniform(0, 3)))
    return Tissue.FINGER, np.broadcast_to(fingers, (_AWAY, _ALONG)), {"height": np.full((_AWAY, _ALONG), GLOVE)}


def _cloth(away: FloatArray, along: FloatArray, half: float, rng: np.random.Generator) -> _Sheet:
    """A bib or drape with folds."""
    folds = sum(
        (
            rng.normal(0, 0.035) * half * np.sin((rng.normal(0, 3) * along + rng.normal(0, 3) * away) / half + phase)
            for phase in rng.uniform(0, 6, 5)
        ),
        start=np.zeros((_AWAY, _ALONG)),
    )
    return Tissue.GROUND, folds, {"height": np.full((_AWAY, _ALONG), CLOTH)}


_KINDS: Final[tuple[Callable[[FloatArray, FloatArray, float, np.random.Generator], _Sheet], ...]] = (
    _skin, _glove, _cloth,
)  # fmt: skip
_KIND_SHARES: Final = (0.5, 0.2, 0.3)


def _waves(along: FloatArray, half: float, rng: np.random.Generator) -> FloatArray:
    """Unevenness of an edge, mm."""
    turns = rng.normal(0, 2.5, 3)
    waves: FloatArray = sum(
        (rng.normal(0, 0.03) * half * np.sin(turn * along / half + rng.uniform(0, 6)) for turn in turns),
        start=np.zeros_like(along),
    )
    return waves
