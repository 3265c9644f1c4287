"""The quality gate resolved: limits from the figures of reference pictures, when a build is planned."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dentgen import storage
from dentgen.conditions.decode import decode_record
from dentgen.conditions.prepare import fit_record
from dentgen.conditions.readers.source import list_shards, read_records
from dentgen.documents.gate import FigureLimit, PlannedGate
from dentgen.errors import ConditionError, SpecError
from dentgen.models.judges import Judges, judges_digest, load_judges, reference_figures
from dentgen.quality.gate import lost_share, reference_limits
from dentgen.quality.labelled_pictures import fingerprint, in_order, labelled_figures
from dentgen.records import FIGURES, ConditionRecord, FigureName
from dentgen.spec.build import BuildSpec
from dentgen.spec.quality import EMBEDDED, GateSpec

_LOG = logging.getLogger(__name__)

#: Pictures in memory at a time.
_BATCH: Final = 64
Figures = Mapping[FigureName, NDArray[np.float64]]


def planned_gate(spec: BuildSpec, device: str) -> PlannedGate | None:
    """Resolve a spec's gate.

    Args:
        spec: The build spec, with its picture size resolved.
        device: Device kind of the judges.

    Returns:
        Limits and digests; None without a gate.

    Raises:
        BundleError: If the judges cannot be loaded.
        SpecError: If the reference has no labelled pictures.
    """
    gate = spec.quality.gate
    if gate is None:
        return None
    judges = judges_digest(gate.judges)
    reference = reference_of(gate, spec.conditions.shape, device)
    fixed = {name: None if limit is None else FigureLimit(**limit.model_dump()) for name, limit in gate.limits.items()}
    limits = reference_limits(reference, gate.lose, fixed)
    lost = lost_share(reference, limits)
    _LOG.info("quality gate: %s; %.2f %% of the reference is outside", _words(limits), 100 * lost)
    return PlannedGate(
        judges_sha256=judges,
        reference_sha256=figures_digest(reference),
        reference_records=len(next(iter(reference.values()))),
        limits=limits,
        lost=round(lost, 6),
    )


def measured_figures(records: Iterator[ConditionRecord], judges: Judges) -> Figures:
    """Every figure of the photos of records, in their order.

    Args:
        records: Records with photos, all of one size.
        judges: The judges.

    Returns:
        (n,) values by name, rounded to four digits as those of a build's pictures are; empty without records.
    """
    parts: list[Mapping[FigureName, NDArray[np.float64]]] = []
    prints = []
    while chunk := list(islice(records, _BATCH)):
        photos = [record.photo for record in chunk if record.photo is not None]
        parts.append(labelled_figures(judges, photos, chunk))
        prints += [fingerprint(photo) for photo in photos]
    if not parts:
        return {}
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    whole["distinct"] = in_order(prints)
    return {name: np.round(whole[name], 4) for name in FIGURES}


def figures_digest(figures: Figures) -> str:
    """sha256 of figures, names and float64 values."""
    digest = hashlib.sha256()
    for name, values in sorted(figures.items()):
        digest.update(f"{name}:{len(values)}:".encode() + np.ascontiguousarray(values, "<f8").tobytes())
    return digest.hexdigest()


def reference_of(gate: GateSpec, shape: tuple[int, int], device: str = "cpu") -> Figures:
    """Figures of a gate's reference pictures.

    Args:
        gate: The gate's settings.
        shape: Height and width to which pictures are brought, as those of the build are.
        device: Device kind of the judges.

    Raises:
        BundleError: If the judges cannot be loaded, or come without a reference.
        SpecError: If the reference has no labelled pictures.
    """
    if gate.reference == EMBEDDED:
        known = reference_figures(gate.judges)
        return {name: known[name] for name in FIGURES if name in known}
    records = islice(labelled_records(gate.reference, shape), gate.reference_records)
    figures = measured_figures(records, load_judges(gate.judges, device))
    if not figures:
        raise SpecError(
            key="quality.gate.reference", found=f"no labelled picture in {storage.without_secrets(gate.reference)}",
            expected="condition records with photo and segmentation, or a finished build",
        )  # fmt: skip
    return figures


def labelled_records(place: str, shape: tuple[int, int]) -> Iterator[ConditionRecord]:
    """Records of a source that have a photo and a segmentation, fitted to a size; others are passed over."""
    for shard in list_shards(place):
        for raw in read_records(shard):
            try:
                record = decode_record(raw, ("segmentation",), with_photo=True)
            except ConditionError as error:
                _LOG.warning("%s: passed over: %s", storage.without_secrets(place), error)
                continue
            if record.photo is not None:
                yield fit_record(record, shape, "pad")


def _words(limits: Mapping[FigureName, FigureLimit]) -> str:
    return ", ".join(f"{name} {limit.least}..{limit.most}" for name, limit in limits.items())
