"""Sections of a certificate that need nothing but the dataset and judges."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from dentgen.curation.check_agreement import check_agreement, most_reviewed
from dentgen.curation.memorisation import Seen, compare, drawn_keys, look_at
from dentgen.curation.near_duplicates import COPY_BITS, near_duplicates
from dentgen.curation.pictures import read_pictures
from dentgen.documents.gate import PlannedGate
from dentgen.documents.index import DatasetIndex
from dentgen.models.judges import Judges
from dentgen.pipeline.planned_gate import labelled_records, measured_figures
from dentgen.quality.gate import lost_share, reference_limits
from dentgen.records import FIGURES, FigureName
from dentgen.shards.certificate import CertificateSection, rounded
from dentgen.shards.plan import Plan
from dentgen.shards.rejections import reason_class
from dentgen.shards.sample_table import rejected_reasons, stream_samples

_QUANTILES = (0.01, 0.05, 0.5)
#: Pictures whose figures are in memory at once.
_MOST_ROWS = 200_000
#: Shares of the pictures that are given up, at which the rest is described.
_CURVE = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2)


def agreement(
    out: str, plan: Plan, judges: Judges, count: int, dataset: Mapping[str, str], judged_by: str = ""
) -> CertificateSection:
    """How pictures agree with their labels, as judges see the first ``count`` of them now."""
    records = islice(labelled_records(out, plan.spec.conditions.shape), count)
    figures = measured_figures(records, judges)
    if not figures:
        return CertificateSection(missing="no written sample has a segmentation to compare with")
    found: dict[str, float | None] = {"pictures": float(len(figures["miou"]))}
    for name in FIGURES:
        found |= _described(name, figures[name])
    return CertificateSection(
        figures=found, command=f"dentgen certify OUT --pictures {count}{judged_by}",
        computed_from={**dataset, "judges": judges.digest},
    )  # fmt: skip


def gate(out: str, planned: PlannedGate | None, index: DatasetIndex, dataset: Mapping[str, str]) -> CertificateSection:
    """What the gate of the build did, and how the rest looks if ever more of the worst pictures are given up."""
    if planned is None:
        return CertificateSection(missing="the build has no gate: quality.gate of its spec is null")
    table = _table(out)
    failed = sum(1 for one in _failed(out) if one)
    found: dict[str, float | None] = {
        "planned": float(index.planned), "failed": float(failed), "failed_share": rounded(failed / index.planned),
        "reference_lost": rounded(planned.lost),
    }  # fmt: skip
    found |= {f"limit_{name}_least": limit.least for name, limit in planned.limits.items() if limit.least is not None}
    found |= {f"limit_{name}_most": limit.most for name, limit in planned.limits.items() if limit.most is not None}
    found |= _curve(table)
    return CertificateSection(
        figures=found, command="dentgen certify OUT",
        computed_from={**dataset, "judges": planned.judges_sha256, "reference": planned.reference_sha256},
    )  # fmt: skip


def duplicates(out: str, dataset: Mapping[str, str]) -> CertificateSection:
    """Pairs of written samples whose perceptual hashes hardly differ, as copies do; counterfactuals are none."""
    pairs = near_duplicates(out, most=COPY_BITS)
    figures: dict[str, float | None] = {"pairs": float(len(pairs)), "most_bits": float(COPY_BITS)}
    figures["samples"] = float(len({key for one, other, _ in pairs for key in (one, other)}))
    return CertificateSection(figures=figures, command="dentgen certify OUT", computed_from=dict(dataset))


def memorised(
    out: str, training: str, held_out: str, judges: Judges, count: int, dataset: Mapping[str, str], judged_by: str = ""
) -> CertificateSection:
    """Whether ``count`` pictures repeat those that the model learnt on, beside pictures that it cannot have seen."""
    own = look_at(read_pictures(out, drawn_keys(out, count)), judges)
    seen = [own, *(look_at(read_pictures(place), judges) for place in (training, held_out))]
    figures = compare(*seen).figures
    digests = {name: _digest(one) for name, one in zip(("training", "held_out"), seen[1:], strict=True)}
    return CertificateSection(
        figures={name: rounded(value) for name, value in figures.items()},
        command=f"dentgen certify OUT --training SOURCE --held-out SOURCE --pictures {count}{judged_by}",
        computed_from={**dataset, "judges": judges.digest, **digests},
    )  # fmt: skip


def _digest(seen: Seen) -> str:
    """sha256 of keys and perceptual hashes of pictures."""
    return hashlib.sha256(repr(seen.features.keys).encode() + seen.words.tobytes()).hexdigest()


def reviewed(out: str, dataset: Mapping[str, str]) -> CertificateSection:
    """What people said of the check sheet of this version that most of them filled in."""
    found = most_reviewed(out)
    if found is None:
        return CertificateSection(missing="nobody looked at this version, or no verdicts were kept: dentgen review")
    sheet, filled_in = found
    figures = check_agreement(sheet, filled_in).figures
    told = sorted(each.model_dump_json() for each in filled_in)
    return CertificateSection(
        figures={name: None if value is None else rounded(value) for name, value in figures.items()},
        command="dentgen certify OUT",
        computed_from={**dataset, "verdicts": hashlib.sha256("\n".join(told).encode()).hexdigest()},
    )  # fmt: skip


def rejections(out: str, index: DatasetIndex, dataset: Mapping[str, str]) -> CertificateSection:
    """What was rejected, by class of the reason."""
    classes = Counter[str]()
    for reason, count in rejected_reasons(out):
        classes[reason_class(reason)] += count
    figures: dict[str, float | None] = {"planned": float(index.planned), "rejected": float(index.rejected)}
    figures |= {f"rejected_{name}": float(count) for name, count in sorted(classes.items())}
    return CertificateSection(figures=figures, command="dentgen certify OUT", computed_from=dict(dataset))


def _described(name: str, values: NDArray[np.float64]) -> dict[str, float | None]:
    known = values[~np.isnan(values)]
    if not len(known):
        return {f"{name}_mean": None}
    quantiles = {f"{name}_q{round(100 * share):02d}": rounded(float(np.quantile(known, share))) for share in _QUANTILES}
    return {f"{name}_mean": rounded(float(known.mean())), **quantiles}


def _table(out: str) -> dict[FigureName, NDArray[np.float64]]:
    """Figures of the first measured pictures of a build, written or not, (n,) by name; at most some ``_MOST_ROWS``."""
    parts: dict[FigureName, list[NDArray[np.float64]]] = {name: [] for name in FIGURES}
    for batch in stream_samples(out, ["gate_failed", *(f"gate_{name}" for name in FIGURES)]):
        for part in (batch.written, batch.rejected):
            measured = np.array([failed is not None for failed in part["gate_failed"].to_pylist()], bool)
            for name, values in parts.items():
                column = np.asarray(part[f"gate_{name}"].to_numpy(zero_copy_only=False), np.float64)
                values.append(column[measured])
        if sum(map(len, parts["miou"])) >= _MOST_ROWS:
            break
    return {name: np.concatenate(values) for name, values in parts.items()}


def _failed(out: str) -> Iterator[list[str]]:
    for batch in stream_samples(out, ["gate_failed"]):
        for part in (batch.written, batch.rejected):
            yield from (failed for failed in part["gate_failed"].to_pylist() if failed is not None)


def _curve(table: Mapping[FigureName, NDArray[np.float64]]) -> dict[str, float | None]:
    """Mean mIoU of what is left once limits of the pictures' own give up a share of them."""
    curve: dict[str, float | None] = {}
    for share in _CURVE:
        limits = reference_limits(table, share, {})
        kept = np.ones(len(table["miou"]), bool)
        for name, limit in limits.items():
            values = table[name]
            low = -np.inf if limit.least is None else limit.least
            high = np.inf if limit.most is None else limit.most
            kept &= np.isnan(values) | ((values >= low) & (values <= high))
        percent = round(100 * share)
        curve[f"curve_{percent:02d}_kept"] = rounded(1 - lost_share(table, limits))
        curve[f"curve_{percent:02d}_miou"] = rounded(float(np.nanmean(table["miou"][kept]))) if kept.any() else None
    return curve
