"""Findings of a sample: drawn by the spec's probabilities, painted into its maps, kept as a label map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dentgen.conditions.labels import RESTORATION, TOOTH
from dentgen.conditions.lesion_map import LESIONS
from dentgen.errors import ConditionError
from dentgen.generation.finding_masks import Mask, tissue_mask, tooth_mask, visible_teeth
from dentgen.records import AskedFinding, ConditionRecord
from dentgen.seeding import numpy_generator
from dentgen.spec.findings import FindingSpec

_LESION_VALUE = {name: value for value, name in LESIONS.items()}


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """What a sample is asked to show.

    Attributes:
        record: The record with changed maps.
        labels: (H, W) uint8: n where the spec's n-th finding lies, from 1; 0 elsewhere.
        asked: What was drawn, by label.
    """

    record: ConditionRecord
    labels: NDArray[np.uint8]
    asked: tuple[AskedFinding, ...]


def draw_findings(
    record: ConditionRecord, findings: Sequence[FindingSpec], seed: int, variant: int, prompt: str
) -> Findings:
    """Draw the findings of one sample; where several lie at one place, the last one does.

    Args:
        record: A fitted record.
        findings: The spec's findings.
        seed: Seed of the build: with the record's key, the variant and the finding's number, it decides the draws.
        variant: Index of the variant.
        prompt: The sample's own prompt.
    """
    labels, drawn = np.zeros(record.shape, np.uint8), dict[int, tuple[int, ...]]()
    if "segmentation" not in record.conditions:  # check_findings rejects the record
        return Findings(record, labels, ())
    for label, finding in enumerate(findings, 1):
        teeth, mask = _drawn(record, finding, numpy_generator(seed, "finding", record.key, variant, label))
        if mask.any():
            labels[mask] = label
            drawn[label] = teeth
    asked = tuple(_asked(findings[n - 1], n, teeth, prompt) for n, teeth in drawn.items())
    return Findings(_edited(record, findings, labels), labels, seen_findings(asked, labels, record.fdi))


def seen_findings(
    asked: Sequence[AskedFinding], labels: NDArray[np.uint8], fdi: NDArray[np.uint8] | None
) -> tuple[AskedFinding, ...]:
    """What is left of findings under what was drawn over them: pixels and teeth; without the hidden ones.

    Args:
        asked: Findings by label.
        labels: (H, W) labels that are seen.
        fdi: (H, W) tooth numbers that are seen.
    """
    seen = []
    for one in asked:
        here, teeth = labels == one.label, one.teeth
        if one.where == "tooth" and fdi is not None:
            present = set(np.unique(fdi[here]).tolist())
            teeth = tuple(tooth for tooth in teeth if tooth in present)
        if here.any():
            seen.append(replace(one, teeth=teeth, pixels=int(here.sum())))
    return tuple(seen)


def carried_findings(record: ConditionRecord) -> tuple[NDArray[np.uint8] | None, tuple[AskedFinding, ...]]:
    """Labels and findings of a record that is a sample of another build, to be judged anew; (None, ()) without any."""
    sample = record.sample
    if sample is None or sample.finding_labels is None:
        return None, ()
    asked = [replace(one, inside=None, outside=None, found=None) for one in sample.findings]
    return sample.finding_labels, seen_findings(asked, sample.finding_labels, record.fdi)


def check_findings(record: ConditionRecord, findings: Sequence[FindingSpec]) -> None:
    """Check that a record has the maps that findings are placed by.

    Raises:
        ConditionError: If segmentation or tooth numbers are missing.
    """
    if findings and "segmentation" not in record.conditions:
        raise ConditionError("seg", "none", "a segmentation, because the spec asks for findings")
    if record.fdi is None and any(finding.teeth or finding.near for finding in findings):
        raise ConditionError("fdi", "none", "tooth numbers, because findings name teeth")


def _drawn(record: ConditionRecord, finding: FindingSpec, rng: np.random.Generator) -> tuple[tuple[int, ...], Mask]:
    """Teeth that have the finding, and its mask."""
    nothing = np.zeros(record.shape, bool)
    if any(record.attributes.get(name) != value for name, value in finding.attributes.items()):
        return (), nothing
    if finding.where is not None:
        return finding.near, tissue_mask(record, finding, rng) if rng.random() < finding.probability else nothing
    seen, teeth = visible_teeth(record), list[int]()
    for tooth in finding.teeth:
        wanted, mask = rng.random() < finding.probability, tooth_mask(record, tooth, finding, rng)
        if wanted and tooth in seen:
            teeth.append(tooth)
            nothing |= mask
    return tuple(teeth), nothing


def _asked(finding: FindingSpec, label: int, teeth: tuple[int, ...], own: str) -> AskedFinding:
    where = finding.where or "tooth"
    return AskedFinding(label, finding.kind, where, teeth, region_prompt(finding, own), 0)


def region_prompt(finding: FindingSpec, own: str) -> str:
    """Prompt of a finding's region; "" without one."""
    return "" if finding.prompt is None else finding.prompt.replace("{prompt}", own)


def _edited(record: ConditionRecord, findings: Sequence[FindingSpec], labels: NDArray[np.uint8]) -> ConditionRecord:
    """The record with restorations in its segmentation, and all findings in a findings map, if it has one."""
    if not labels.any():
        return record
    conditions = dict(record.conditions)
    for label, finding in enumerate(findings, 1):
        here = labels == label
        if not finding.edit or not here.any():
            continue
        if finding.kind == "restoration":
            seg = conditions["segmentation"]
            conditions["segmentation"] = np.where(here & (seg == TOOTH), RESTORATION, seg).astype(np.uint8)
        if "findings" in conditions and finding.lesion is not None:
            value = _LESION_VALUE[finding.lesion]
            conditions["findings"] = np.where(here, value, conditions["findings"]).astype(np.uint8)
    return replace(record, conditions=conditions)
