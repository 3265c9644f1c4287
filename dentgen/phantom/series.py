"""Series of pictures of one mouth: a camera that circles before it, or a lamp that swings about the lens.

Both paths are closed and begin where a single picture would be taken.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from dentgen.phantom.anatomy import FloatArray
from dentgen.phantom.camera import Camera
from dentgen.phantom.light import LIGHT_KINDS, Lighting, sample_lighting
from dentgen.phantom.scene import Scene, Surface

SeriesKind = Literal["orbit", "light"]
SERIES_KINDS: Final[tuple[SeriesKind, ...]] = get_args(SeriesKind)
#: Greatest angles of the camera to the side and up, and of the lamps about the lens, degrees.
_YAW, _PITCH, _SWING = 8.0, 4.0, 60.0
#: Kinds of light that change when their lamps go round the lens.
_SWINGING: Final = ("side", "harsh")
#: A point that the first frame sees this close to where it should is the same point.
_SAME_POINT_MM: Final = 0.25


@dataclass(frozen=True, slots=True)
class Series:
    """What moves, and in how many frames it comes back to its beginning."""

    kind: SeriesKind
    frames: int


def orbit(camera: Camera, frame: int, frames: int) -> Camera:
    """The camera at a frame of its way round a lying eight, always aimed at its target.

    Args:
        camera: The camera of frame 0.
        frame: Number of the frame.
        frames: Frames of the whole way.
    """
    phase = 2 * np.pi * frame / frames
    yaw, pitch = np.deg2rad(_YAW) * np.sin(phase), np.deg2rad(_PITCH) * np.sin(2 * phase)
    right, up, back = camera.axes
    turned = np.cos(pitch) * (np.cos(yaw) * back + np.sin(yaw) * right) + np.sin(pitch) * up
    across = np.cross(up, turned)
    across /= np.linalg.norm(across)
    axes = np.stack([across, np.cross(turned, across), turned])
    return replace(camera, axes=axes, eye=camera.eye + camera.distance_mm * (turned - back))


def standing(lighting: Lighting, first: Camera, camera: Camera) -> Lighting:
    """The light of a first camera, as another camera sees it whose lamps have not moved along."""
    lamps = tuple(
        replace(lamp, position=(first.eye + lamp.position @ first.axes - camera.eye) @ camera.axes.T)
        for lamp in lighting.lamps
    )
    return replace(lighting, lamps=lamps)


def sample_swinging(rng: np.random.Generator) -> Lighting:
    """Draw the light of frame 0 of a series of lights."""
    return sample_lighting(rng, [kind for kind in LIGHT_KINDS if kind not in _SWINGING])


def swing(lighting: Lighting, frame: int, frames: int) -> Lighting:
    """The lamps at a frame of their way: turned about the lens's axis to one side, to the other, and back."""
    angle = np.deg2rad(_SWING) * np.sin(2 * np.pi * frame / frames)
    turn = np.array([[np.cos(angle), np.sin(angle), 0], [-np.sin(angle), np.cos(angle), 0], [0, 0, 1.0]])
    return replace(lighting, lamps=tuple(replace(lamp, position=lamp.position @ turn) for lamp in lighting.lamps))


def motion_to(first: Scene, centres: Surface) -> NDArray[np.float32]:
    """Where the pixels of a frame lie in the first frame of its orbit.

    A ray of the first camera towards each point tells whether it sees that point or something before it; points beside
    its picture count as seen.

    Args:
        first: The first frame's scene.
        centres: What another frame sees at its pixel centres, row by row.

    Returns:
        (H, W, 2) pixels right and down, NaN where the point is hidden or nothing was hit.
    """
    size = first.size
    column, row = first.camera.project(centres.position, size)
    there: FloatArray = first.trace(column, row).position
    seen = centres.hit & (np.linalg.norm(there - centres.position, axis=1) < _SAME_POINT_MM)
    own_row, own_column = (np.mgrid[:size, :size] + 0.5).reshape(2, -1)
    motion = np.stack([column - own_column, row - own_row], -1)
    return np.where(seen[:, None], motion, np.nan).astype(np.float32).reshape(size, size, 2)
