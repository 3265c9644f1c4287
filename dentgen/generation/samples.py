"""One made picture to what is stored of it: members, metadata, a line in the ledger.

Refuses to know how it was made.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from dentgen.conditions.labels import IGNORE
from dentgen.diffusion.interpolation import share_of
from dentgen.documents import SampleMetadata, SampleStatus
from dentgen.records import (
    CONDITION_MEMBER,
    DATA_DRIVEN_MEDIA,
    FDI_MEMBER,
    ConditionRecord,
    GeneratedSample,
    SampleRequest,
)
from dentgen.shards.plan import Plan
from dentgen.shards.tar import image_bytes, json_bytes, png_bytes
from dentgen.spec.build import BuildSpec


def sample_members(plan: Plan, spec: BuildSpec, sample: GeneratedSample) -> dict[str, bytes]:
    """Members of a sample by extension; the same ones in every sample of a build."""
    record = sample.request.record
    blank = np.zeros(record.shape, np.uint8)
    labels = {
        "seg": record.conditions.get("segmentation", blank + IGNORE),
        FDI_MEMBER: record.fdi if record.fdi is not None else blank,
        **{CONDITION_MEMBER[name]: record.conditions[name] for name in spec.conditions.use},
    }
    return {
        spec.output.image_format: image_bytes(sample.picture, spec.output.image_format, spec.sampling.source_type),
        **{f"{member}.png": png_bytes(array, DATA_DRIVEN_MEDIA) for member, array in labels.items()},
        "json": json_bytes(sample_metadata(plan, spec, sample.request).model_dump(mode="json")),
    }


def sample_metadata(plan: Plan, spec: BuildSpec, request: SampleRequest) -> SampleMetadata:
    """What people ask of a sample; ``spec_digest`` names the whole spec, which stands in the build's plan."""
    record, sampling = request.record, spec.sampling
    several = request.variants > 1
    return SampleMetadata(
        key=request.key,
        source_key=record.key,
        group=record.group,
        split=record.split,
        variant=request.variant,
        seed=sampling.seed,
        prompt=request.prompt,
        negative_prompt=sampling.negative_prompt,
        prompt_to=sampling.prompt_to or "" if several else "",
        seed_to=sampling.seed if sampling.seed_to is None or not several else sampling.seed_to,
        share=share_of(request.variant, request.variants) if several and sampling.interpolates else 0.0,
        scheduler=sampling.scheduler_name,
        steps=sampling.steps,
        guidance_scale=sampling.guidance_scale,
        guidance=sampling.guidance,
        start_from=sampling.start_from,
        strength=sampling.strength,
        repaint=sampling.repaint,
        adapters={**spec.model.adapters, **spec.model.controlnets},
        loras=spec.model.scaled_loras,
        embeddings=tuple(spec.model.embeddings),
        decoder=spec.model.decoder,
        control={"use": "+".join(spec.conditions.use), "alpha": spec.conditions.alpha, "fit": spec.conditions.fit},
        size=spec.conditions.size,
        bundle=spec.model.bundle,
        bundle_digest=plan.bundle_digest,
        spec_digest=plan.spec_digest,
        software=plan.environment,
        source_license=record.license,
        attributes=record.attributes,
        teeth=_teeth(record),
        warnings=_warnings(request),
        synthetic=sampling.synthetic,
        digital_source_type=spec.sampling.source_type,
    )


def _warnings(request: SampleRequest) -> tuple[str, ...]:
    record, found = request.record, list(request.record.warnings)
    if "segmentation" not in record.conditions:
        found.append("the source has no segmentation: seg is 255 (ignore) everywhere")
    if record.fdi is None:
        found.append("the source has no FDI map: fdi is 0 everywhere")
    if request.dropped:
        found.append(f"the text encoder did not read the end of a prompt: {request.dropped!r}")
    return tuple(found)


def sample_status(request: SampleRequest, status: Literal["written", "rejected"], reason: str = "") -> SampleStatus:
    """A sample's line in the ledger."""
    return SampleStatus(
        key=request.key,
        source_key=request.record.key,
        group=request.record.group,
        split=request.record.split,
        variant=request.variant,
        prompt=request.prompt,
        status=status,
        reason=reason,
        source_license=request.record.license,
        attributes=request.record.attributes,
        teeth=_teeth(request.record),
        light_level=_light_level(request.record),
        warnings=_warnings(request),
    )


def _teeth(record: ConditionRecord) -> tuple[int, ...]:
    return () if record.fdi is None else tuple(int(number) for number in np.unique(record.fdi) if number)


def _light_level(record: ConditionRecord) -> int | None:
    lit = record.conditions.get("lighting", np.zeros(0, np.uint8))
    return round(float(lit[lit > 0].mean())) if (lit > 0).any() else None
