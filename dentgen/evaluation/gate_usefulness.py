"""Whether a gate helps: segmenters that learn on what it accepts, what it rejects, both, and ever smaller shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from dentgen.errors import ConditionError
from dentgen.evaluation.certificate.usefulness import MOST_REFERENCE, LabelledSet, learnt_ious, read_labelled
from dentgen.models.judges import load_judges
from dentgen.pipeline.planned_gate import labelled_records, measured_figures, reference_of
from dentgen.quality.gate import failures, reference_limits, standing
from dentgen.seeding import numpy_generator
from dentgen.spec.quality import EMBEDDED, GateSpec


@dataclass(frozen=True, slots=True)
class GateUsefulnessSettings:
    """Sizes of the comparison.

    Attributes:
        source: Finished build, or condition records with photos, to judge and to learn on.
        reference: Labelled pictures to test on.
        judges: Judges, and what sets the limits.
        lose: Share of the judges' reference that the limits reject: large, so that there is enough to learn on.
        pictures: Pictures of the source, at most.
        steps: Training steps of 8 pictures.
        seeds: One segmenter of each kind per seed.
        shares: Shares of the source, 0..1, that are kept, the best first, for the curve.
    """

    source: str
    reference: str
    judges: str = EMBEDDED
    lose: float = 0.3
    pictures: int = 1000
    steps: int = 300
    seeds: tuple[int, ...] = (0, 1, 2)
    shares: tuple[float, ...] = (1.0, 0.75, 0.5, 0.25)


def measure_gate_usefulness(settings: GateUsefulnessSettings) -> dict[str, float]:
    """IoU, on the reference, of segmenters that learnt on equally many accepted, rejected and mixed pictures.

    Returns:
        ``miou_accepted``, ``miou_rejected`` and ``miou_all``, means over seeds, with ``_spread``, the standard
        deviation; ``pictures``: of each kind; ``rejected_share`` of the source. ``curve_PERCENT``, with spread, of
        segmenters that learnt on all pictures that are left where only this share is kept.

    Raises:
        ConditionError: If too few pictures are accepted or rejected, or the reference has too few.
    """
    judges = load_judges(settings.judges)
    shape = (judges.size, judges.size)
    source = read_labelled(settings.source, shape, settings.pictures)
    passed, standings = _judged(settings, shape)
    count = int(min(passed.sum(), (~passed).sum()))
    if not count:
        raise ConditionError(settings.source, f"{passed.sum()} of {len(passed)} pictures accepted", "some of each kind")
    test = read_labelled(settings.reference, shape, MOST_REFERENCE)
    kinds = {"accepted": passed, "rejected": ~passed, "all": np.ones(len(passed), bool)}
    figures = {"pictures": float(count), "rejected_share": float(1 - passed.mean())}
    for kind, chosen in kinds.items():
        figures |= _learnt(f"miou_{kind}", source, np.flatnonzero(chosen), count, test, settings)
    best = np.argsort(-standings, kind="stable")
    for share in settings.shares:
        kept = best[: max(1, round(share * len(best)))]
        figures |= _learnt(f"curve_{round(100 * share):03d}", source, kept, len(kept), test, settings)
    return figures


def _judged(
    settings: GateUsefulnessSettings, shape: tuple[int, int]
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:  # fmt: skip
    """Which pictures of the source pass, and how far inside the reference they stand, in its order."""
    records = islice(labelled_records(settings.source, shape), settings.pictures)
    figures = measured_figures(records, load_judges(settings.judges))
    reference = reference_of(GateSpec(judges=settings.judges), shape)
    limits, count = reference_limits(reference, settings.lose, {}), len(next(iter(figures.values())))
    passed = [not failures({name: float(figures[name][i]) for name in figures}, limits) for i in range(count)]
    return np.array(passed), standing(figures, reference)


def _learnt(
    name: str, source: LabelledSet, numbers: NDArray[np.intp], count: int, test: LabelledSet,
    settings: GateUsefulnessSettings,
) -> dict[str, float]:  # fmt: skip
    mious = []
    for seed in settings.seeds:
        drawn = numpy_generator("gate usefulness", name.removeprefix("miou_"), seed).permutation(numbers)[:count]
        mious.append(float(np.nanmean(learnt_ious(source.of(np.sort(drawn)), test, settings.steps, seed))))
    return _mean_and_spread(name, mious)


def _mean_and_spread(name: str, values: Sequence[float]) -> dict[str, float]:
    return {name: float(np.mean(values)), f"{name}_spread": float(np.std(values))}
