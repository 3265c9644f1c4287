"""What a panel and a pair of panels must reach, and what they are rejected for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final, Literal, get_args

PanelFigure = Literal[
    "luminance",
    "clipped",
    "miou",
    "light_correlation",
    "agreement",
    "identity",
    "distinct",
    "light_difference",
    "score",
]
#: In the order in which they are tested; a panel is rejected for the first that it fails.
PANEL_FIGURES: Final[tuple[PanelFigure, ...]] = get_args(PanelFigure)


@dataclass(frozen=True, slots=True)
class PairLimits:
    """Limits of the filter. Defaults were set on pictures of the miniature's second edition, of 128 pixels.

    Attributes:
        least_luminance, most_luminance: Of a panel's mean linear luminance, 0..1.
        most_clipped: Of the share of labelled pixels that are black or white.
        least_miou: Of the judges' mean IoU with the label map.
        least_light_correlation: Of the correlation of luminance and lighting map within teeth.
        least_agreement: Of the mean IoU of what judges see in a panel and in the others, median over these.
        least_identity: Of the correlation of surfaces within teeth, free of illumination: of a panel's median over the
            others, and of every pair.
        least_distinct: Of the share of bits in which perceptual hashes differ.
        least_light_difference: Of the mean difference of light within teeth, from the other panels that are left.
        least_score: Of an optional scorer's value of every pair.
    """

    least_luminance: float = 0.02
    most_luminance: float = 0.8
    most_clipped: float = 0.2
    least_miou: float = 0.7
    least_light_correlation: float = 0.2
    least_agreement: float = 0.7
    least_identity: float = 0.45
    least_distinct: float = 0.01
    least_light_difference: float = 0.02
    least_score: float = 0.5

    def interval(self, figure: PanelFigure) -> tuple[float, float]:
        """The smallest and the largest value that pass."""
        values = asdict(self)
        return values.get(f"least_{figure}", -math.inf), values.get(f"most_{figure}", math.inf)


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a panel is left out.

    Attributes:
        reason: The figure that it fails, or ``partner``: no other panel of its record is left.
        value: The figure; None where there was nothing to compare.
        threshold: The limit that it misses.
    """

    reason: PanelFigure | Literal["partner"]
    value: float | None
    threshold: float


def rejection(
    figures: Mapping[PanelFigure, float], limits: PairLimits, names: tuple[PanelFigure, ...]
) -> Rejection | None:
    """The first of some figures that is outside its limits; NaN is."""
    for name in names:
        if name not in figures:
            continue
        value, (least, most) = figures[name], limits.interval(name)
        if not least <= value <= most:
            return Rejection(name, None if math.isnan(value) else value, most if value > most else least)
    return None
