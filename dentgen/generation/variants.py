"""Variants of a record: each with its own noise and findings, or with one changed factor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dentgen.documents.units import sample_key
from dentgen.errors import ConditionError
from dentgen.generation.findings import carried_findings, draw_findings
from dentgen.generation.randomise import randomised
from dentgen.phantom.prompt import replace_light_words
from dentgen.records import ConditionRecord, SampleRequest
from dentgen.relight.shading import RELIT, draw_lightings, shade
from dentgen.spec.build import BuildSpec
from dentgen.spec.findings import FindingSpec
from dentgen.spec.variants import Factor


def vary(spec: BuildSpec, plain: SampleRequest, variant: int, findings: Sequence[FindingSpec]) -> SampleRequest:
    """One variant of a record.

    Args:
        spec: Which factors change, if not all.
        plain: The record as it is, as variant 0.
        variant: Index of the variant.
        findings: Findings to ask for.
    """
    plain = replace(plain, same_noise=spec.variants.same_noise)
    request = replace(plain, key=sample_key(plain.record.key, variant), variant=variant)
    request = randomised(spec.randomise, request)
    if not spec.variants.same_noise:
        return _with_findings(request, findings)
    factor = spec.variants.factor(variant)
    request = replace(request, prompt=_prompt(spec, request, variant))
    if factor is not None:
        request = replace(request, reference=sample_key(plain.record.key, 0), changed=factor)
    if factor == "lighting":
        request = replace(request, record=_relit(request.record, request.seed, variant))
    request = _with_findings(request, findings, none="findings" in spec.variants.change and factor != "findings")
    if factor == "findings" and not request.findings:  # nothing was drawn: it is the reference once more
        return replace(request, reference="", changed="")
    return request


def check_variants(record: ConditionRecord, changes: Sequence[Factor]) -> None:
    """Check that a record has what its variants change.

    Raises:
        ConditionError: If normals to light anew are missing.
    """
    if "lighting" in changes and "normal" not in record.conditions:
        raise ConditionError("normal", "none", "normals, because variants change the lighting")


def _prompt(spec: BuildSpec, request: SampleRequest, variant: int) -> str:
    """A variant's prompt; where the lighting changes, none names a light, so that nothing else differs."""
    prompt = spec.variants.prompt(variant)
    if prompt is not None:
        return prompt
    light = request.record.attributes.get("lighting", "") if "lighting" in spec.variants.change else ""
    return replace_light_words(request.prompt, light)


def _relit(record: ConditionRecord, seed: int, variant: int) -> ConditionRecord:
    """The record under a light that its seed, key and variant draw."""
    if "normal" not in record.conditions:  # check_variants rejects the record
        return record
    lighting = draw_lightings(seed, record.key, variant)[-1]
    light = shade(record.conditions["normal"], record.conditions.get("depth"), lighting)
    attributes = {**record.attributes, "lighting": RELIT}
    return replace(record, conditions={**record.conditions, "lighting": light}, attributes=attributes)


def _with_findings(request: SampleRequest, findings: Sequence[FindingSpec], *, none: bool = False) -> SampleRequest:
    """The request with what its variant draws, in its maps and as labels, or with what its record carries over."""
    if not findings:
        labels, carried = carried_findings(request.record)
        return replace(request, finding_labels=labels, findings=carried)
    asked = () if none else findings
    draw = request.variant if request.changed == "findings" else request.noise
    drawn = draw_findings(request.record, asked, request.seed, draw, request.prompt)
    return replace(request, record=drawn.record, finding_labels=drawn.labels, findings=drawn.asked)
