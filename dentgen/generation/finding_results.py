"""What a judge finds of the findings that samples were asked to show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dentgen.conditions.labels import RESTORATION, SEG_CLASSES, TOOTH
from dentgen.generation.samples import RejectedSample
from dentgen.quality.finding_judge import judge_finding
from dentgen.records import AskedFinding, GeneratedSample
from dentgen.spec.findings import FindingSpec


def judge_samples(
    samples: Sequence[GeneratedSample], findings: Sequence[FindingSpec]
) -> tuple[list[GeneratedSample], list[RejectedSample]]:
    """Judge every asked finding; samples without one that the spec insists on are rejected.

    Args:
        samples: Decoded samples.
        findings: The spec's findings; without any, samples may have those of the build that they were made from.

    Returns:
        Samples with the judge's results, and rejected samples.
    """
    kept, rejected = list[GeneratedSample](), list[RejectedSample]()
    for sample in samples:
        judged = judged_findings(sample)
        request = replace(sample.request, findings=judged)
        insisted = {label for label, finding in enumerate(findings, 1) if finding.missed == "reject"}
        missed = [one for one in judged if one.found is not True and one.label in insisted]
        if missed:
            rejected.append(RejectedSample(request, f"{request.key}: {'; '.join(map(_reason, missed))}"))
        else:
            kept.append(replace(sample, request=request))
    return kept, rejected


def judged_findings(sample: GeneratedSample) -> tuple[AskedFinding, ...]:
    """A sample's findings with what the judge sees of them."""
    return tuple(_judged(sample, finding) for finding in sample.request.findings)


def _judged(sample: GeneratedSample, finding: AskedFinding) -> AskedFinding:
    labels = sample.request.finding_labels
    if labels is None:
        return finding
    light = sample.request.record.conditions.get("lighting")
    score = judge_finding(
        sample.picture, labels == finding.label, _tissue(sample, labels, finding), finding.kind,
        None if light is None else light.astype(np.uint8),
    )  # fmt: skip
    if score is None:
        return finding
    return replace(finding, inside=round(score.inside, 4), outside=round(score.outside, 4), found=score.found)


def _tissue(sample: GeneratedSample, labels: NDArray[np.uint8], finding: AskedFinding) -> NDArray[np.bool_]:
    """The same tissue without findings; of teeth also without restorations."""
    seg = sample.request.record.conditions["segmentation"]
    value = next(value for value, name in SEG_CLASSES.items() if name == finding.where)
    same = seg == (TOOTH if value == RESTORATION else value)
    return np.asarray(same & (labels == 0))


def _reason(finding: AskedFinding) -> str:
    teeth = f" at {', '.join(map(str, finding.teeth))}" if finding.teeth else ""
    if finding.inside is None:
        return f"finding {finding.label}, {finding.kind}{teeth}: found nothing to compare it with, expected to see it"
    return (
        f"finding {finding.label}, {finding.kind}{teeth}: found in {finding.inside} of its pixels and in "
        f"{finding.outside} elsewhere, expected it to be seen"
    )
