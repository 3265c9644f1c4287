"""The painted surface that one camera sees: one sample per pixel centre and four more in pixels on outlines.

It does not depend on the lighting, so all lightings of a view share it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dentgen.phantom.anatomy import FloatArray, IntArray
from dentgen.phantom.camera import Camera
from dentgen.phantom.light import Lighting
from dentgen.phantom.scene import Scene, Surface
from dentgen.phantom.shading import Painted, shade

_EDGE_SAMPLES = ((0.15, 0.35), (0.65, 0.12), (0.86, 0.64), (0.35, 0.86))
_DEPTH_JUMP_MM = 0.9


@dataclass(frozen=True, slots=True)
class Sight:
    """Painted samples of a square picture of n = size * size pixels.

    Attributes:
        camera: The camera.
        size: Edge of the picture, pixels.
        centres: Samples at the pixel centres, row by row.
        edge: Indices of the pixels with further samples.
        further: Further samples: all edge pixels at the first offset within the pixel, then at the next.
    """

    camera: Camera
    size: int
    centres: Painted
    edge: IntArray
    further: Painted

    def radiance(self, lighting: Lighting) -> FloatArray:
        """Linear RGB (n, 3) of every pixel, the mean of its samples."""
        return self._mean(shade(self.centres, lighting, self.camera), shade(self.further, lighting, self.camera))

    def coverage(self) -> FloatArray:
        """Share (n, 1) of every pixel's samples that hit a surface."""
        return self._mean(*(painted.surface.hit[:, None].astype(float) for painted in (self.centres, self.further)))

    def _mean(self, centres: FloatArray, further: FloatArray) -> FloatArray:
        samples = len(_EDGE_SAMPLES)
        centres[self.edge] = (centres[self.edge] + further.reshape(samples, len(self.edge), -1).sum(0)) / (samples + 1)
        return centres


def see(scene: Scene, centres: Surface, brush: Callable[[Surface], Painted]) -> Sight:
    """Trace the further samples and paint everything that a scene's camera sees.

    Args:
        scene: The scene.
        centres: Its traced pixel centres.
        brush: Paints traced points.
    """
    size = scene.size
    edge = np.flatnonzero(_edges(centres, size))
    column = np.concatenate([edge % size + dx for dx, _ in _EDGE_SAMPLES])
    row = np.concatenate([edge // size + dy for _, dy in _EDGE_SAMPLES])
    return Sight(scene.camera, size, brush(centres), edge, brush(scene.trace(column, row)))


def _edges(centres: Surface, size: int) -> NDArray[np.bool_]:
    """Pixels next to a change of tissue, tooth or depth; only these need more than one sample."""
    label = (centres.tissue.astype(int) * 100 + centres.fdi).reshape(size, size)
    depth = centres.depth_mm.reshape(size, size)
    edge = np.zeros((size, size), bool)
    across = (label[:, 1:] != label[:, :-1]) | (np.abs(np.diff(depth, axis=1)) > _DEPTH_JUMP_MM)
    down = (label[1:] != label[:-1]) | (np.abs(np.diff(depth, axis=0)) > _DEPTH_JUMP_MM)
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= down
    edge[:-1] |= down
    return edge
