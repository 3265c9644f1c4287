"""The quality gate within a unit: every decoded picture is measured, and accepted, rejected or made again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dentgen.documents.gate import FigureLimit, PlannedGate
from dentgen.errors import BuildError
from dentgen.generation.samples import RejectedSample
from dentgen.models.judges import Judges, load_judges
from dentgen.quality.gate import failures, limit_text
from dentgen.quality.labelled_pictures import distinctness, fingerprint, fingerprint_text, labelled_figures
from dentgen.records import FIGURES, FigureName, GateResult, GeneratedSample
from dentgen.spec.quality import GateSpec

_DIGITS: Final = 4


@dataclass(frozen=True, slots=True, eq=False)
class Gate:
    """Judges and limits of a build.

    Attributes:
        spec: What becomes of pictures that fail.
        judges: Loaded judges.
        limits: Limits by figure.
    """

    spec: GateSpec
    judges: Judges
    limits: Mapping[FigureName, FigureLimit]


def load_gate(spec: GateSpec, planned: PlannedGate, device: str) -> Gate:
    """Load the judges of a planned gate.

    Args:
        spec: The gate's settings.
        planned: Its limits.
        device: Device kind.

    Raises:
        BundleError: If the judges cannot be loaded.
        BuildError: If they are not those that the build was planned with.
    """
    judges = load_judges(spec.judges, device)
    if judges.digest != planned.judges_sha256:
        raise BuildError(
            file=f"judges {spec.judges}", key="quality.gate.judges", found=f"digest {judges.digest} here",
            expected=f"{planned.judges_sha256}, as planned",
        )  # fmt: skip
    return Gate(spec, judges, planned.limits)


@dataclass(slots=True)
class UnitGate:
    """The gate of one unit; it remembers what it accepted, to tell copies.

    Attributes:
        gate: Judges and limits.
        alike: Whether variants of a record are meant to look alike: they share noise, or what is kept of a photo.
        accepted: Record and fingerprint of accepted pictures.
    """

    gate: Gate
    alike: bool = False
    accepted: list[tuple[str, NDArray[np.bool_]]] = field(default_factory=list)

    def judge(self, samples: Sequence[GeneratedSample]) -> tuple[list[GeneratedSample], list[RejectedSample]]:
        """Measure samples in their order.

        Returns:
            Accepted samples, and rejected ones with the reason.
        """
        kept, rejected = list[GeneratedSample](), list[RejectedSample]()
        if not samples:
            return kept, rejected
        records = [sample.request.record for sample in samples]
        figures = labelled_figures(self.gate.judges, [sample.picture for sample in samples], records)
        for number, sample in enumerate(samples):
            bits = fingerprint(sample.picture)
            result = self._result(sample, {name: float(values[number]) for name, values in figures.items()}, bits)
            if result.failed and self.gate.spec.on_failure == "reject":
                reason = _reason(sample.request.key, result, self.gate.limits)
                rejected.append(RejectedSample(sample.request, reason, result, sample.picture))
            else:
                self.accepted.append((sample.request.record.key, bits))
                kept.append(replace(sample, gate=result))
        return kept, rejected

    def _result(self, sample: GeneratedSample, figures: dict[FigureName, float], bits: NDArray[np.bool_]) -> GateResult:
        figures["distinct"] = distinctness(bits, self._others(sample))
        known = {name: round(value, _DIGITS) for name, value in figures.items() if not math.isnan(value)}
        failed = failures(known, self.gate.limits)
        return GateResult({name: known.get(name) for name in FIGURES}, failed, fingerprint_text(bits))

    def _others(self, sample: GeneratedSample) -> list[NDArray[np.bool_]]:
        """Accepted pictures that a sample should differ from; those that differ in one factor are meant to be alike."""
        alike, key = self.alike or sample.request.same_noise, sample.request.record.key
        return [bits for other, bits in self.accepted if not (alike and other == key)]


def _reason(key: str, result: GateResult, limits: Mapping[FigureName, FigureLimit]) -> str:
    faults = (f"{name} found {result.figures[name]:g}, expected {limit_text(limits[name])}" for name in result.failed)
    return f"{key}: gate: {'; '.join(faults)}"
