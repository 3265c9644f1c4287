"""What one camera sees of a mouth, painted: one sample at every pixel centre, four more where the centres differ.

Lighting changes nothing here, so all lightings of a view share one sight. Refuses to know lenses and labels.
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
    """The painted samples of a square picture.

    Attributes:
        camera, size: Which camera, and the picture's edge in pixels.
        centres: Samples at the pixel centres, row by row.
        edge: Pixels that have further samples.
        further: Those samples: all edge pixels at one place in the pixel, then at the next.
    """

    camera: Camera
    size: int
    centres: Painted
    edge: IntArray
    further: Painted

    def radiance(self, lighting: Lighting) -> FloatArray:
        """Linear RGB of every pixel (n, 3)."""
        return self._mean(shade(self.centres, lighting, self.camera), shade(self.further, lighting, self.camera))

    def coverage(self) -> FloatArray:
        """Share of every pixel's samples that hit anything (n, 1)."""
        return self._mean(*(painted.surface.hit[:, None].astype(float) for painted in (self.centres, self.further)))

    def _mean(self, centres: FloatArray, further: FloatArray) -> FloatArray:
        samples = len(_EDGE_SAMPLES)
        centres[self.edge] = (centres[self.edge] + further.reshape(samples, len(self.edge), -1).sum(0)) / (samples + 1)
        return centres


def see(scene: Scene, centres: Surface, brush: Callable[[Surface], Painted]) -> Sight:
    """Paint what a scene's camera sees; ``centres`` are the scene's traced pixel centres."""
    size = scene.size
    edge = np.flatnonzero(_edges(centres, size))
    column = np.concatenate([edge % size + dx for dx, _ in _EDGE_SAMPLES])
    row = np.concatenate([edge // size + dy for _, dy in _EDGE_SAMPLES])
    return Sight(scene.camera, size, brush(centres), edge, brush(scene.trace(column, row)))


def _edges(centres: Surface, size: int) -> NDArray[np.bool_]:
    """Pixels next to a change of tissue, tooth or depth: only these need more than one sample."""
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
