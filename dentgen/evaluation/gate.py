"""What a quality gate is worth: how many clean pictures it loses, and how many planted faults it catches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dentgen.documents.gate import FigureLimit
from dentgen.errors import ConditionError
from dentgen.evaluation.planted_faults import Labelled, plant_faults
from dentgen.models.judges import Judges, load_judges, write_reference
from dentgen.pipeline.planned_gate import Figures, labelled_records, measured_figures, reference_of
from dentgen.quality.gate import failures, reference_limits
from dentgen.quality.labelled_pictures import distinctness, fingerprint, in_order, labelled_figures
from dentgen.records import FIGURES, ConditionRecord, FigureName
from dentgen.spec.quality import GateSpec

_QUANTILES: Final = (0.01, 0.05, 0.5, 0.95, 0.99)


@dataclass(frozen=True, slots=True)
class GateTrial:
    """How a gate did.

    Attributes:
        figures: ``lost_clean``: share of the clean pictures that fail. ``caught_KIND``: share of the planted faults of
            a kind that fail; ``caught``: of all. ``lost_clean_FIGURE``, ``caught_KIND_FIGURE``: those that fail by one
            figure. ``FIGURE_q01`` and so on: quantiles of the clean pictures.
        clean, planted: Pictures.
    """

    figures: dict[str, float]
    clean: int
    planted: int


def try_gate(
    records: Iterator[ConditionRecord], judges: Judges, limits: Mapping[FigureName, FigureLimit], *,
    count: int = 512, each: int = 20, seed: int = 0,
) -> GateTrial:  # fmt: skip
    """Judge clean pictures and planted faults.

    Args:
        records: Clean pictures with their maps, in the order in which they were made.
        judges: The judges.
        limits: The gate's limits.
        count: Clean pictures, at most.
        each: Planted faults of every kind.
        seed: Names the faults.

    Raises:
        ConditionError: If there are fewer than two pictures.
    """
    clean = [Labelled(record.photo, record) for record in islice(records, count) if record.photo is not None]
    if len(clean) < 2:
        raise ConditionError("the pictures to judge", f"{len(clean)} labelled pictures", "two at least")
    prints = [fingerprint(one.picture) for one in clean]
    values = _figures(clean, judges) | {"distinct": in_order(prints)}
    figures = _quantiles(values) | _shares("lost_clean", values, limits)
    faulty = plant_faults(clean, each, seed)
    for kind, planted in faulty.items():
        found = _figures(planted, judges)
        found["distinct"] = np.array([_distinct(one, prints) for one in planted])
        figures |= _shares(f"caught_{kind}", found, limits)
    figures["caught"] = float(np.mean([figures[f"caught_{kind}"] for kind in faulty]))
    return GateTrial(figures, len(clean), sum(map(len, faulty.values())))


def try_gate_on(
    source: str, judges: str, reference: str, lose: float, *, count: int = 512, each: int = 20
) -> GateTrial:
    """Try the gate that a spec with these settings would have, on the pictures of a source; see ``try_gate``.

    Raises:
        BundleError: If the judges cannot be loaded.
        ConditionError: If there are fewer than two labelled pictures.
    """
    loaded = load_judges(judges)
    shape = (loaded.size, loaded.size)
    figures = reference_of(GateSpec(judges=judges, reference=reference), shape)
    limits = reference_limits(figures, lose, {})
    return try_gate(labelled_records(source, shape), loaded, limits, count=count, each=each)


def write_reference_of(source: str, judges: str, folder: str, count: int = 512) -> int:
    """Measure the pictures of a source, and write their figures to a folder of judges as its reference.

    Returns:
        Number of pictures.
    """
    loaded = load_judges(judges)
    figures = measured_figures(islice(labelled_records(source, (loaded.size, loaded.size)), count), loaded)
    if not figures:
        raise ConditionError(source, "no labelled picture", "condition records with photo and segmentation, or a build")
    write_reference(folder, figures)
    return len(next(iter(figures.values()), ()))


def _distinct(faulty: Labelled, prints: Sequence[NDArray[np.bool_]]) -> float:
    """Distance of a faulty picture from all clean ones but the one whose place it takes."""
    others = [bits for number, bits in enumerate(prints) if number != faulty.original]
    return distinctness(fingerprint(faulty.picture), others)


def _figures(pictures: Sequence[Labelled], judges: Judges) -> dict[FigureName, NDArray[np.float64]]:
    found = labelled_figures(judges, [one.picture for one in pictures], [one.record for one in pictures])
    return {name: np.round(values, 4) for name, values in found.items()}


def _shares(name: str, values: Figures, limits: Mapping[FigureName, FigureLimit]) -> dict[str, float]:
    """Share of pictures that fail, and that fail by each figure."""
    count = len(next(iter(values.values())))
    failed = [failures({figure: float(values[figure][i]) for figure in values}, limits) for i in range(count)]
    by_figure = {f"{name}_{figure}": sum(figure in one for one in failed) / count for figure in FIGURES}
    return {name: sum(map(bool, failed)) / count, **{figure: share for figure, share in by_figure.items() if share}}


def _quantiles(values: Figures) -> dict[str, float]:
    return {
        f"{name}_q{round(100 * share):02d}": float(np.nanquantile(values[name], share))
        for name in FIGURES
        for share in _QUANTILES
        if not np.isnan(values[name]).all()
    }
