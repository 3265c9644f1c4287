"""A scan's mesh with the FDI number of every triangle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Jaw = Literal["upper", "lower"]


@dataclass(frozen=True, slots=True, eq=False)
class ScanMesh:
    """A triangle mesh in the file's own coordinates.

    Attributes:
        vertices: (V, 3) float64.
        faces: (F, 3) vertex indices.
        labels: (F,) uint8 FDI numbers, 0 for gum; None if the file names none.
        jaw: Jaw that the file names, None for both or none named.
    """

    vertices: NDArray[np.float64]
    faces: NDArray[np.int64]
    labels: NDArray[np.uint8] | None
    jaw: Jaw | None
