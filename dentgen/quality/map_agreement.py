"""Obedience: all figures on whether pictures show what their maps say. Arrays in, figures by name out.

Refuses to know where pictures come from and who judged them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dentgen.conditions.labels import GINGIVA, IGNORE, TOOTH
from dentgen.quality.boundaries import boundary_f1, edge_energy, interiors, outlines
from dentgen.quality.instances import component_ratio, find_teeth
from dentgen.quality.metrics import confusion, light_correlation, mean_iou, mistaken_share

#: Edge of the picture, pixels, at which the lengths below are meant; they grow with the picture.
_EDGE: Final = 128
TOLERANCE: Final = 2.0
LEAST_TOOTH: Final = 24
#: Farther from outlines than the judges' and the autoencoder's own blur reaches.
INTERIOR_DEPTH: Final = 2.0
OUTLINE_REACH: Final = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Maps:
    """What pictures should show: tissue classes, FDI numbers and lighting, each (n, H, W)."""

    seg: NDArray[np.uint8]
    fdi: NDArray[np.uint8]
    light: NDArray[np.uint8]

    def repeated(self, times: int) -> Maps:
        """Every record's maps ``times`` times in a row."""
        return Maps(*(np.repeat(m, times, 0) for m in (self.seg, self.fdi, self.light)))


def judged_figures(judged: NDArray[np.uint8], maps: Maps) -> dict[str, float]:
    """Figures of one judge.

    Args:
        judged: (n, H, W) tissue classes that a judge sees in the pictures.
        maps: What the pictures should show.

    Returns:
        ``miou``; ``tooth_recall``: share of teeth of which at least half is judged tooth; ``bleed_in``: share of tooth
        pixels judged gum; ``bleed_out``: share of gum pixels judged tooth; ``boundary_f1`` of the outline of all teeth
        within 2 px (at 128); ``tooth_pieces``: pieces of judged tooth for every labelled one, 1 where none is doubled,
        broken or grown together.
    """
    scale = maps.seg.shape[1] / _EDGE
    least, known = round(LEAST_TOOTH * scale**2), maps.seg != IGNORE
    tooth, labelled = (judged == TOOTH) & known, maps.seg == TOOTH
    matrix = confusion(judged, maps.seg, 3)
    return {
        "miou": mean_iou(matrix),
        "tooth_recall": find_teeth(tooth, maps.fdi, known, least).recall,
        "bleed_in": mistaken_share(matrix, TOOTH, GINGIVA),
        "bleed_out": mistaken_share(matrix, GINGIVA, TOOTH),
        "boundary_f1": boundary_f1(judged == TOOTH, labelled, known, TOLERANCE * scale),
        "tooth_pieces": component_ratio(tooth, labelled, least),
    }


def seen_figures(pictures: NDArray[np.uint8], maps: Maps) -> dict[str, float]:
    """Figures that need no judge.

    Args:
        pictures: (n, H, W, 3).
        maps: What they should show.

    Returns:
        ``light_correlation``: of luminance and lighting within teeth, mean over pictures; ``interior_edges``: mean
        squared slope of luminance inside single teeth, more than 2 px (at 128) from where any tooth ends;
        ``stray_edges``: the same over the mean squared slope along the outlines of teeth. A ghost's contours, which lie
        where no tooth ends, raise both; so do texture and highlights. Softness lowers the first, and the second less.
    """
    teeth, scale = maps.seg == TOOTH, maps.seg.shape[1] / _EDGE
    inside = edge_energy(pictures, interiors(maps.fdi, INTERIOR_DEPTH * scale) & teeth)
    around = edge_energy(pictures, outlines(maps.fdi, OUTLINE_REACH * scale) & (maps.seg != IGNORE))
    return {
        "light_correlation": float(np.nanmean(light_correlation(pictures, maps.light, teeth))),
        "interior_edges": inside,
        "stray_edges": inside / around if around > 0 else float("nan"),
    }


def small_teeth(maps: Maps) -> tuple[int, int]:
    """Teeth that ``tooth_recall`` counts, and those that it leaves out because too little of them is seen."""
    known = maps.seg != IGNORE
    least = round(LEAST_TOOTH * (maps.seg.shape[1] / _EDGE) ** 2)
    found = find_teeth(np.zeros_like(known), maps.fdi, known, least)
    return found.teeth, found.small
