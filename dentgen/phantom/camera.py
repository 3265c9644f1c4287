"""Perspective cameras of the five standard intra-oral views."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np

from dentgen.phantom.anatomy import FloatArray

View = Literal["frontal", "left", "right", "upper-occlusal", "lower-occlusal"]
VIEWS: Final[tuple[View, ...]] = get_args(View)
OCCLUSAL_VIEWS: Final[tuple[View, ...]] = ("upper-occlusal", "lower-occlusal")
#: Steps of the fixed-point iteration that inverts the barrel distortion; in the corners each leaves half of the error.
_UNBULGE_STEPS: Final = 40


@dataclass(frozen=True, slots=True)
class Camera:
    """A perspective camera with a square image.

    Attributes:
        view: Standard view.
        axes: (3, 3) unit rows right, up, back (to the viewer) in world coordinates.
        eye: (3,) mm.
        distance_mm: Distance from eye to target.
        width_mm: Width of the field of view at the target.
        bulge: Barrel distortion: how much farther than a straight lens it sees at the middle of an edge, as a share.
    """

    view: View
    axes: FloatArray
    eye: FloatArray
    distance_mm: float
    width_mm: float
    bulge: float = 0.0

    def rays(self, column: FloatArray, row: FloatArray, size: int) -> FloatArray:
        """Unit world directions (n, 3) through pixel coordinates (n,), 0..size with pixel centres at .5."""
        half = self.width_mm / 2 / self.distance_mm
        across, down = 2 * column / size - 1, 2 * row / size - 1
        if self.bulge:
            farther = 1 + self.bulge * (across * across + down * down)
            across, down = across * farther, down * farther
        direction = np.stack([across * half, -down * half, -np.ones_like(across)], -1)
        direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
        return direction @ self.axes

    def project(self, points: FloatArray, size: int) -> tuple[FloatArray, FloatArray]:
        """Pixel columns and rows (n,) at which points (n, 3) before the camera appear; the inverse of ``rays``."""
        right, up, back = ((points - self.eye) @ self.axes.T).T
        half = self.width_mm / 2 / self.distance_mm
        across, down = right / -back / half, up / back / half
        if self.bulge:
            far_across, far_down = across, down
            for _ in range(_UNBULGE_STEPS):
                farther = 1 + self.bulge * (across * across + down * down)
                across, down = far_across / farther, far_down / farther
        return (across + 1) / 2 * size, (down + 1) / 2 * size


def sample_camera(view: View, front_mm: float, rng: np.random.Generator, scale: float = 1.0) -> Camera:
    """Place a camera for a view; framing and its jitter were chosen by eye against real photographs.

    Args:
        view: Standard view.
        front_mm: z of the foremost tooth.
        rng: Source of the jitter.
        scale: Size of the mouth, 1 for an adult's.
    """
    match view:
        case "frontal":
            yaw, pitch, width = rng.normal(0, 3), rng.normal(0, 4), rng.normal(61, 3)
            target = np.array([0, rng.normal(0, 1), -12.0])
        case "left" | "right":
            side = 1 if view == "left" else -1
            yaw, pitch, width = side * rng.normal(40, 5), rng.normal(0, 3), rng.normal(47, 3)
            target = np.array([side * rng.normal(14, 1.5), rng.normal(0, 1), -11.0])
        case "upper-occlusal":
            yaw, pitch, width = 0.0, -rng.normal(76, 4), rng.normal(70, 2.5)
            target = np.array([rng.normal(0, 1), -1.0, -23.0])
        case _:
            yaw, pitch, width = 0.0, rng.normal(70, 4), rng.normal(69, 2.5)
            target = np.array([rng.normal(0, 1), 1.0, -23.0])
    axes = camera_axes(np.deg2rad(yaw), np.deg2rad(pitch), np.deg2rad(rng.normal(0, 2)))
    distance = rng.uniform(200, 320)
    centre = target * [scale, scale, scale**3]  # a child's arch is shorter than it is narrow
    eye = centre + [0.0, 0.0, front_mm] + axes[2] * distance
    return Camera(view, axes, eye, distance, scale * max(float(width), 35.0))


def camera_axes(yaw: float, pitch: float, roll: float) -> FloatArray:
    """Unit rows (3, 3) right, up and back of a camera that is turned by angles in radians."""
    back = np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
    right = np.cross([0.0, 1.0, 0.0], back)
    right /= np.linalg.norm(right)
    up = np.cross(back, right)
    cos, sin = np.cos(roll), np.sin(roll)
    return np.stack([right * cos + up * sin, up * cos - right * sin, back])
