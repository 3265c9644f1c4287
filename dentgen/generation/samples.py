"""Generated samples to what is stored of them: shard members, metadata, and the status of every planned sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dentgen.conditions.labels import IGNORE
from dentgen.conditions.motion import motion_levels
from dentgen.conditions.painted import painted_bits, painted_entries
from dentgen.conditions.unit_records import RejectedRecord
from dentgen.diffusion.interpolation import share_of
from dentgen.documents.samples import SampleMetadata, SampleStatus
from dentgen.documents.units import sample_key
from dentgen.models.restricted_use import use_restrictions
from dentgen.records import (
    CONDITION_MEMBER,
    DATA_DRIVEN_MEDIA,
    FDI_MEMBER,
    FINDING_MEMBER,
    MOTION_MEMBERS,
    PAINTED_MEMBER,
    ConditionRecord,
    Frame,
    GateResult,
    GeneratedSample,
    MapArray,
    SampleRequest,
    light_level,
)
from dentgen.shards.plan import Plan
from dentgen.shards.tar import image_bytes, json_bytes, png_bytes
from dentgen.spec.build import BuildSpec


@dataclass(frozen=True, slots=True)
class RejectedSample:
    """A sample that was requested and failed on the way, with the reason: file, key, found, expected.

    ``gate`` is what the quality gate measured, if it came so far, ``picture`` what it rejected, (H, W, 3).
    """

    request: SampleRequest
    reason: str
    gate: GateResult | None = None
    picture: NDArray[np.uint8] | None = None


def sample_members(plan: Plan, sample: GeneratedSample) -> dict[str, bytes]:
    """Members of a sample by extension; the same ones in every sample of a build."""
    spec, record = plan.spec, sample.request.record
    image_format, level = spec.output.image_format, spec.output.png_level
    blank = np.zeros(record.shape, np.uint8)
    labels: dict[str, MapArray] = {
        "seg": record.conditions.get("segmentation", blank + IGNORE),
        FDI_MEMBER: record.fdi if record.fdi is not None else blank,
        **{CONDITION_MEMBER[name]: record.conditions[name] for name in spec.conditions.use},
    }
    if plan.num_findings:
        found = sample.request.finding_labels
        labels[FINDING_MEMBER] = blank if found is None else found
    if spec.regions.painted:
        labels[PAINTED_MEMBER] = painted_bits(record.painted, record.shape)
    if spec.sampling.noise == "motion" and record.motion is not None:
        labels |= dict(zip(MOTION_MEMBERS, motion_levels(record.motion), strict=True))
    return {
        image_format: image_bytes(sample.picture, image_format, source_type(plan, record), level),
        **{f"{member}.png": png_bytes(array, DATA_DRIVEN_MEDIA, level) for member, array in labels.items()},
        "json": json_bytes(sample_metadata(plan, sample).model_dump(mode="json")),
    }


def sample_metadata(plan: Plan, sample: GeneratedSample) -> SampleMetadata:
    """Content of ``KEY.json``; ``spec_digest`` names the whole spec, which is in the build's plan."""
    spec, request = plan.spec, sample.request
    model, conditions, sampling = spec.model, spec.conditions, spec.sampling
    return SampleMetadata(
        **_origin(request),
        **_interpolation(spec, request),
        seed=request.seed,
        negative_prompt=sampling.negative_prompt,
        scheduler=sampling.scheduler_name,
        steps=sampling.steps,
        guidance_scale=sampling.guidance_scale if request.guidance_scale is None else request.guidance_scale,
        guidance=sampling.guidance,
        start_from=sampling.start_from,
        strength=sampling.strength,
        repaint=tuple(map(str, sampling.repaint)),
        adapters={
            name: scale if isinstance(scale, dict) else scale * request.control_scale
            for name, scale in {**model.adapters, **model.controlnets}.items()
        },
        loras=model.loras,
        embeddings=model.embeddings,
        decoder=model.decoder,
        control={"use": "+".join(conditions.use), "alpha": conditions.alpha, "fit": conditions.fit},
        height=conditions.shape[0],
        width=conditions.shape[1],
        augment=dict(sample.augment),
        painted=painted_entries(request.record.painted) if spec.regions.painted else None,
        **_series(spec, request.record.frame),
        gate=sample.gate,
        bundle_digest=plan.bundle_digest,
        bundle_licenses=plan.bundle_licenses,
        use_restrictions=use_restrictions(plan.bundle_licenses),
        spec_digest=plan.spec_digest,
        software=plan.environment,
        made_from="" if plan.made_from is None else plan.made_from.index_sha256,
        synthetic=_is_synthetic(plan, request.record),
        digital_source_type=source_type(plan, request.record),
    )


def _series(spec: BuildSpec, frame: Frame | None) -> dict[str, Any]:
    """Its place in a series, in builds of series alone: all samples of a build have the same fields."""
    return {} if spec.sampling.noise == "record" or frame is None else {"series": frame.series, "frame": frame.number}


def source_type(plan: Plan, record: ConditionRecord) -> str:
    """IPTC term for a sample: that of the picture it starts from, if another build made it; otherwise the plan's."""
    if plan.spec.sampling.needs_photo and record.sample is not None:
        return record.sample.digital_source_type
    return plan.source_type


def _is_synthetic(plan: Plan, record: ConditionRecord) -> bool:
    """Whether no photograph went into a sample, nor into the picture it starts from, if another build made it."""
    if plan.spec.sampling.needs_photo and record.sample is not None:
        return record.sample.synthetic
    return plan.synthetic


def written_status(sample: GeneratedSample) -> SampleStatus:
    """Ledger line of a sample that is in the shard."""
    level = _light_level(sample.request.record)
    return SampleStatus(**_origin(sample.request), status="written", light_level=level, gate=sample.gate)


def rejected_statuses(rejection: RejectedRecord | RejectedSample) -> list[SampleStatus]:
    """Ledger lines of what was planned and is not in the shard: one sample, or all variants of a record."""
    if isinstance(rejection, RejectedSample):
        request, level = rejection.request, _light_level(rejection.request.record)
        said: dict[str, Any] = {"reason": rejection.reason, "light_level": level, "gate": rejection.gate}
        return [SampleStatus(**_origin(request), status="rejected", **said)]
    return [
        SampleStatus(
            key=sample_key(rejection.name, variant),
            source_key=rejection.source_key,
            variant=variant,
            status="rejected",
            reason=rejection.reason,
        )
        for variant in range(rejection.variants)
    ]


def _origin(request: SampleRequest) -> dict[str, Any]:
    """What metadata and ledger both say of a sample: its keys, record and prompt."""
    record = request.record
    return {
        "key": request.key,
        "source_key": record.key,
        "group": record.group,
        "split": record.split,
        "variant": request.variant,
        "prompt": request.prompt,
        "source_license": record.license,
        "attributes": record.attributes,
        "teeth": () if record.fdi is None else tuple(int(number) for number in np.unique(record.fdi) if number),
        "findings": request.findings,
        "reference": request.reference,
        "changed": request.changed,
        "retries": request.attempt,
        "warnings": _warnings(request),
    }


def _interpolation(spec: BuildSpec, request: SampleRequest) -> dict[str, Any]:
    """Where a sample lies between two prompts or seeds; a record with one variant is not interpolated."""
    sampling = spec.sampling
    if request.variants == 1 or not sampling.interpolates:
        return {"seed_to": request.seed}
    return {
        "prompt_to": sampling.prompt_to or "",
        "seed_to": request.seed if sampling.seed_to is None else sampling.seed_to,
        "share": share_of(request.variant, request.variants),
    }


def _warnings(request: SampleRequest) -> tuple[str, ...]:
    record, warnings = request.record, list(request.record.warnings)
    if "segmentation" not in record.conditions:
        warnings.append("the source has no segmentation: seg is 255 (ignore) everywhere")
    if record.fdi is None:
        warnings.append("the source has no FDI map: fdi is 0 everywhere")
    if request.dropped:
        warnings.append(f"the text encoder did not read the end of a prompt: {request.dropped!r}")
    return tuple(dict.fromkeys(warnings))


def _light_level(record: ConditionRecord) -> int | None:
    return light_level(record.conditions.get("lighting", np.zeros(0, np.uint8)))
