"""Agreement of images with the condition maps that they were generated from, as named figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dentgen.conditions.labels import GINGIVA, IGNORE, TOOTH
from dentgen.quality.boundaries import boundary_f1, edge_energy, interiors, outlines
from dentgen.quality.instances import component_ratio, find_teeth
from dentgen.quality.metrics import confusion, light_correlation, mean_iou, mistaken_share

#: Image size, pixels, for which the lengths below are given; they scale with the image.
_EDGE: Final = 128
TOLERANCE: Final = 2.0
LEAST_TOOTH: Final = 24
#: Farther from outlines than the blur of the judges and of the autoencoder reaches.
INTERIOR_DEPTH: Final = 2.0
OUTLINE_REACH: Final = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Maps:
    """Condition maps of n images, each (n, H, W) uint8.

    Attributes:
        seg: Tissue classes: background, gingiva, tooth or ``IGNORE``.
        fdi: FDI tooth numbers, 0 for none.
        light: Lighting, 0..255.
    """

    seg: NDArray[np.uint8]
    fdi: NDArray[np.uint8]
    light: NDArray[np.uint8]

    def repeated(self, times: int) -> Maps:
        """Repeat each record's maps ``times`` times, consecutively, as for its variants."""
        return Maps(*(np.repeat(m, times, 0) for m in (self.seg, self.fdi, self.light)))


def judged_figures(judged: NDArray[np.uint8], maps: Maps) -> dict[str, float]:
    """Compute the figures that need a judge, a network that segments the images.

    Args:
        judged: (n, H, W) uint8 tissue classes predicted by the judge.
        maps: Condition maps of the images.

    Returns:
        ``miou``: mean intersection over union of the tissue classes. ``tooth_recall``: share of teeth with at least
        half of their pixels predicted as tooth. ``bleed_in``: share of tooth pixels predicted as gum. ``bleed_out``:
        share of gum pixels predicted as tooth. ``boundary_f1``: boundary F1 of the mask of all teeth, tolerance 2 px at
        an image size of 128. ``tooth_pieces``: predicted over labelled connected components of tooth; 1 where none is
        doubled, broken or merged.
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
    """Compute the figures that need no judge.

    Args:
        pictures: (n, H, W, 3) sRGB uint8.
        maps: Condition maps of the images.

    Returns:
        ``light_correlation``: correlation of luminance and lighting within teeth, mean over images. ``interior_edges``:
        mean squared luminance gradient inside teeth, more than 2 px (at an image size of 128) from any outline.
        ``stray_edges``: ``interior_edges`` divided by the same along outlines. Ghost contours, where no tooth ends,
        raise both edge figures; so do texture and highlights. Blur lowers the former more than the latter.
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
    """Number of teeth that ``tooth_recall`` counts, and of those that it leaves out as too small."""
    known = maps.seg != IGNORE
    least = round(LEAST_TOOTH * (maps.seg.shape[1] / _EDGE) ** 2)
    found = find_teeth(np.zeros_like(known), maps.fdi, known, least)
    return found.teeth, found.small
