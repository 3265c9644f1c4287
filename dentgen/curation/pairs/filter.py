"""The filter of panels: by what judges see, by agreement with the other panels of a record, and by pairs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import permutations
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dentgen.conditions.labels import tissue_classes
from dentgen.curation.pairs.limits import PairLimits, PanelFigure, Rejection, rejection
from dentgen.models.judges import Judges
from dentgen.quality.labelled_pictures import distinctness, fingerprint, judged_pictures
from dentgen.quality.metrics import confusion, mean_iou
from dentgen.quality.relit_pairs import TeethLook, identity, inner_teeth, light_difference, teeth_look
from dentgen.records import ConditionRecord

#: Rates two pictures (H, W, 3) uint8 of supposedly one mouth; higher is better. A vision-language model, for example.
Scorer = Callable[[NDArray[np.uint8], NDArray[np.uint8]], float]

_OWN: Final = ("luminance", "clipped", "miou", "light_correlation")


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """One picture that the teacher drew.

    Attributes:
        record: Maps that it was drawn from; its lighting map is the panel's own.
        picture: (H, W, 3) uint8.
    """

    record: ConditionRecord
    picture: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class PanelVerdict:
    """What the filter found of a panel.

    Attributes:
        figures: Every figure that was measured; NaN where there was nothing to compare.
        rejection: Why it is left out; None if it is accepted.
    """

    figures: Mapping[PanelFigure, float] = field(default_factory=dict)
    rejection: Rejection | None = None


@dataclass(frozen=True, slots=True)
class PairVerdict:
    """Figures of an accepted ordered pair of panels, by their numbers."""

    reference: int
    target: int
    figures: Mapping[PanelFigure, float]


def judge_panels(
    panels: Sequence[Panel], judges: Judges, limits: PairLimits, scorer: Scorer | None = None
) -> tuple[list[PanelVerdict], list[PairVerdict]]:
    """Judge the panels of one record.

    Args:
        panels: Panels of one label map.
        judges: Segmenters.
        limits: What must be reached.
        scorer: Rates pairs in addition.

    Returns:
        A verdict for every panel, in order, and every accepted ordered pair.
    """
    board = _Board(panels, judges, limits)
    board.reject(_OWN)
    board.compare("agreement", board.agreement)
    board.compare("identity", board.identity)
    board.reject_copies()
    pairs = board.pairs(scorer)
    return board.verdicts, pairs


class _Board:
    """Verdicts in the making: every stage measures and rejects among the panels that are left."""

    def __init__(self, panels: Sequence[Panel], judges: Judges, limits: PairLimits) -> None:
        self._panels, self._limits = panels, limits
        self._pictures = [panel.picture for panel in panels]
        figures, self._seen = judged_pictures(judges, self._pictures, [panel.record for panel in panels])
        self.verdicts = [PanelVerdict({name: float(figures[name][i]) for name in _OWN}) for i in range(len(panels))]
        inside = inner_teeth(tissue_classes(panels[0].record.conditions["segmentation"].astype(np.uint8)))
        self._looks: list[TeethLook] = [teeth_look(picture, inside) for picture in self._pictures]

    @property
    def _left(self) -> list[int]:
        return [i for i, verdict in enumerate(self.verdicts) if verdict.rejection is None]

    def agreement(self, one: int, other: int) -> float:
        """Mean IoU of what judges see in two panels."""
        return mean_iou(confusion(self._seen[one], self._seen[other], 3))

    def identity(self, one: int, other: int) -> float:
        """Correlation of two surfaces."""
        return identity(self._looks[one], self._looks[other])

    def reject(self, names: tuple[PanelFigure, ...], numbers: Sequence[int] | None = None) -> None:
        """Reject panels that are left and fail one of some figures."""
        for i in self._left if numbers is None else numbers:
            failed = rejection(self.verdicts[i].figures, self._limits, names)
            self.verdicts[i] = replace(self.verdicts[i], rejection=failed)

    def compare(self, name: PanelFigure, figure: Callable[[int, int], float]) -> None:
        """Measure each panel by its median against the others, of two values the higher one: one outlier is no harm."""
        left = self._left
        for i in left:
            self._measure(i, name, [figure(i, other) for other in left if other != i])
        self.reject((name,), left)

    def reject_copies(self) -> None:
        """Reject panels that copy an earlier one that is left, or show its light although they were given another."""
        kept: list[int] = []
        prints = {i: fingerprint(self._pictures[i]) for i in self._left}
        for i in self._left:
            if kept:
                nearest = min(light_difference(self._looks[i], self._looks[other]) for other in kept)
                self._measure(i, "distinct", [distinctness(prints[i], [prints[other] for other in kept])])
                self._measure(i, "light_difference", [nearest])
                self.reject(("distinct", "light_difference"), [i])
            if self.verdicts[i].rejection is None:
                kept.append(i)

    def pairs(self, scorer: Scorer | None) -> list[PairVerdict]:
        """Accepted ordered pairs; panels that are in none are rejected."""
        names: tuple[PanelFigure, ...] = ("identity", "light_difference", "score")
        measured = [PairVerdict(i, j, self._pair_figures(i, j, scorer)) for i, j in permutations(self._left, 2)]
        accepted = [pair for pair in measured if rejection(pair.figures, self._limits, names) is None]
        partnered = {pair.reference for pair in accepted} & {pair.target for pair in accepted}
        for i in [i for i in self._left if i not in partnered]:
            own = [pair.figures for pair in measured if pair.reference == i]
            self._reject_alone(i, own, names)
        return [pair for pair in accepted if {pair.reference, pair.target} <= {*self._left}]

    def _pair_figures(self, i: int, j: int, scorer: Scorer | None) -> dict[PanelFigure, float]:
        figures: dict[PanelFigure, float] = {
            "agreement": self.agreement(i, j),
            "identity": self.identity(i, j),
            "light_difference": light_difference(self._looks[i], self._looks[j]),
        }
        return figures if scorer is None else {**figures, "score": scorer(self._pictures[i], self._pictures[j])}

    def _reject_alone(self, i: int, own: Sequence[Mapping[PanelFigure, float]], names: tuple[PanelFigure, ...]) -> None:
        """Reject a panel for the first figure that its pairs fail at their best, or because there is no pair."""
        best = {name: max(pair[name] for pair in own) for name in names if own and name in own[0]}
        found = rejection(best, self._limits, names) or Rejection("partner", 0.0, 1.0)
        self.verdicts[i] = replace(self.verdicts[i], rejection=found)

    def _measure(self, i: int, name: PanelFigure, values: Sequence[float]) -> None:
        known = [value for value in values if not math.isnan(value)]
        if not values:
            return
        middle = float(np.percentile(known, 50, method="higher")) if known else math.nan
        self.verdicts[i] = replace(self.verdicts[i], figures={**self.verdicts[i].figures, name: middle})


def accepted_numbers(verdicts: Sequence[PanelVerdict]) -> list[int]:
    """Numbers of accepted panels."""
    return [i for i, verdict in enumerate(verdicts) if verdict.rejection is None]
