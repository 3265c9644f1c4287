"""A judge of findings that knows no model: pixels that differ from their tissue as the finding would make them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dentgen.quality.metrics import rgb_to_lab

#: Least change of lightness, redness or yellowness (CIE L*, a*, b*) from what the tissue has that counts, by kind.
#: Decay darkens, plaque yellows, inflammation reddens; restorations may do anything, but visibly.
_DARKER, _YELLOWER, _REDDER, _OTHER = 12.0, 6.0, 5.0, 15.0
#: A finding is found if this share of its pixels shows it, and several times as many as elsewhere.
_LEAST_INSIDE: Final = 0.2
_LEAST_RATIO: Final = 2.0
#: Levels of light in a tissue from which its colours are explained by it.
_LEAST_LEVELS: Final = 16


@dataclass(frozen=True, slots=True)
class FindingScore:
    """What the judge sees.

    Attributes:
        inside: Share of the finding's pixels that show it, 0..1.
        outside: Likewise of the same tissue without any finding.
    """

    inside: float
    outside: float

    @property
    def found(self) -> bool:
        """Whether the finding is there."""
        return self.inside >= max(_LEAST_INSIDE, _LEAST_RATIO * self.outside)


def judge_finding(
    picture: NDArray[np.uint8],
    inside: NDArray[np.bool_],
    tissue: NDArray[np.bool_],
    kind: str,
    lighting: NDArray[np.uint8] | None = None,
) -> FindingScore | None:
    """Look for a finding.

    Args:
        picture: (H, W, 3) sRGB.
        inside: (H, W) where it was asked for.
        tissue: (H, W) the same tissue where nothing was asked for: the reference.
        kind: A ``FindingKind``.
        lighting: (H, W) what the light explains of the colours; None: nothing.

    Returns:
        The score; None if there is nothing to compare.
    """
    if not inside.any() or not tissue.any():
        return None
    lab = rgb_to_lab(picture)
    shows = _shows(lab - _expected(lab, tissue, lighting), kind)
    return FindingScore(float(shows[inside].mean()), float(shows[tissue].mean()))


def _expected(
    lab: NDArray[np.float64], tissue: NDArray[np.bool_], lighting: NDArray[np.uint8] | None
) -> NDArray[np.float64]:
    """Colours (H, W, 3) or (3,) of the tissue: its median, or as a parabola of the light, which shades it."""
    if lighting is None or len(np.unique(lighting[tissue])) < _LEAST_LEVELS:
        return np.asarray(np.median(lab[tissue], axis=0))
    light = lighting / 255
    terms = np.stack([np.ones_like(light), light, light**2], -1)
    factors, *_ = np.linalg.lstsq(terms[tissue], lab[tissue], rcond=None)
    return np.asarray(terms @ factors)


def _shows(away: NDArray[np.float64], kind: str) -> NDArray[np.bool_]:
    """Which differences (H, W, 3) from the tissue look like the finding."""
    match kind:
        case "caries":
            return away[..., 0] <= -_DARKER
        case "plaque":
            return away[..., 2] >= _YELLOWER
        case "inflammation":
            return away[..., 1] >= _REDDER
        case _:
            distance: NDArray[np.float64] = np.linalg.norm(away, axis=-1)
            return distance >= _OTHER
