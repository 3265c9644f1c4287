"""One unit in one process, from condition shard to tar bytes, in reading order. No Ray.

This is what a debugger steps through, and the oracle of the most important test: bytes from Ray = bytes from here.
"""

from __future__ import annotations

import hashlib
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from dentgen import storage
from dentgen.conditions.intake import read_unit
from dentgen.conditions.labels import IGNORE
from dentgen.conditions.prepare import control_image
from dentgen.conditions.raw import ConditionShard
from dentgen.diffusion.canvas import Canvas, Named
from dentgen.diffusion.engine import DiffusionEngine, EngineShape
from dentgen.diffusion.solver import SolverTable, probe_solver
from dentgen.errors import BuildError, ConditionError
from dentgen.models.autoencoder import LatentCodec
from dentgen.models.bundle import Bundle, load_bundle
from dentgen.models.networks import ControlBranch, UNetDenoiser
from dentgen.models.schedulers import make_scheduler
from dentgen.models.text import PromptEncoder, prompt_name
from dentgen.records import (
    CONDITION_MEMBER,
    DATA_DRIVEN_MEDIA,
    FDI_MEMBER,
    TRAINED_ALGORITHMIC_MEDIA,
    ConditionRecord,
    GeneratedSample,
    LedgerRecord,
    Plan,
    SampleMetadata,
    SampleRequest,
    SampleStatus,
    Unit,
    UnitTiming,
    sample_key,
)
from dentgen.seeding import NoiseKey
from dentgen.shards.ledger import digest_of
from dentgen.shards.tar import image_bytes, json_bytes, png_bytes, tar_bytes
from dentgen.spec import BuildSpec

CODEC_BATCH: Final = 8

#: Samples canvases and returns clean latents by key: an engine of one's own, or a driver that several units share.
Sampler = Callable[[Sequence[Canvas]], dict[str, Tensor]]


@dataclass(frozen=True, slots=True, eq=False)
class Generation:
    """Everything a process needs to generate units of one plan."""

    plan: Plan
    spec: BuildSpec
    bundle: Bundle
    prompts: PromptEncoder
    codec: LatentCodec
    table: SolverTable


@dataclass(frozen=True, slots=True)
class UnitResult:
    """A unit's shard (empty if every record was rejected) and its commit record."""

    shard: bytes
    record: LedgerRecord


def start_generation(plan: Plan) -> Generation:
    """Load the models that a plan names, with its threads and precision.

    Raises:
        BuildError: If the bundle found here is not the one that was planned with.
    """
    spec = BuildSpec.model_validate(plan.spec)
    torch.set_num_threads(spec.engine.threads)
    dtype = getattr(torch, plan.environment["dtype"])
    bundle = load_bundle(spec.model.bundle, spec.model.adapters, device=plan.environment["device"], dtype=dtype)
    if bundle.digest != plan.bundle_digest:
        raise BuildError(
            f"bundle {spec.model.bundle}: found digest {bundle.digest} here, expected {plan.bundle_digest} as planned"
        )
    table = probe_solver(make_scheduler(spec.sampling.scheduler, bundle.folder), spec.sampling.steps)
    return Generation(
        plan=plan,
        spec=spec,
        bundle=bundle,
        prompts=PromptEncoder(bundle.tokenizer, bundle.text_encoder),
        codec=LatentCodec(bundle.vae, CODEC_BATCH),
        table=table,
    )


def make_engine(generation: Generation) -> DiffusionEngine:
    """An engine of the plan's shape on the generation's networks."""
    spec, bundle = generation.spec, generation.bundle
    tokens, width = generation.prompts.shape
    shape = EngineShape(
        slots=spec.engine.slots,
        control_slots=spec.control_slots,
        latent_size=spec.conditions.size // generation.codec.downscale,
        tokens=tokens,
        width=width,
        columns=generation.table.num_columns,
    )
    control = ControlBranch(bundle.control) if bundle.control is not None else None
    denoiser = UNetDenoiser(bundle.unet, compile_unet=spec.engine.compile)
    return DiffusionEngine(denoiser, control, shape, bundle.unet.device, bundle.unet.dtype)


def generate_unit(generation: Generation, unit: Unit, shard: ConditionShard, sampler: Sampler) -> UnitResult:
    """Make one unit: read, prepare, embed, encode, sample, decode, pack.

    Args:
        generation: Models and plan.
        unit: Which records.
        shard: The condition shard that the unit names.
        sampler: ``engine.run`` or a driver's.
    """
    started = time.time()
    records, rejected = read_unit(generation.spec, unit, shard)
    requests, too_long = requests_of(generation, unit, records)
    latents = sampler(canvases_of(generation, requests))
    samples, broken = _decode(generation, requests, latents)
    members = [(sample.request.key, _members(generation, sample)) for sample in samples]
    tar = tar_bytes(members) if members else b""
    written = [_status(sample.request, "written") for sample in samples]
    record = _ledger_record(generation, unit, tar, [*written, *rejected, *too_long, *broken])
    timing = UnitTiming(started=started, seconds=time.time() - started, worker=f"{platform.node()}:{os.getpid()}")
    return UnitResult(tar, record.model_copy(update={"timing": timing}))


def requests_of(
    generation: Generation, unit: Unit, records: Sequence[ConditionRecord]
) -> tuple[list[SampleRequest], list[SampleStatus]]:
    """Variants of every record, and those whose prompt the text encoder cannot take."""
    spec = generation.spec
    requests: list[SampleRequest] = []
    rejected: list[SampleStatus] = []
    for record in records:
        prompt = spec.sampling.prompt if spec.sampling.prompt is not None else record.prompt
        control = control_image(record, spec.conditions.use, spec.conditions.alpha)
        variants = [
            SampleRequest(sample_key(record.key, v), record, v, prompt, control) for v in range(spec.sampling.variants)
        ]
        try:
            generation.prompts.embed(prompt)
        except ConditionError as error:
            reason = f"{storage.name_of(unit.shard)}: {record.key}: {error}"
            rejected += [_status(request, "rejected", reason) for request in variants]
        else:
            requests += variants
    return requests, rejected


def canvases_of(generation: Generation, requests: Sequence[SampleRequest]) -> list[Canvas]:
    """One canvas per request; every distinct control image is encoded once."""
    spec, prompts = generation.spec, generation.prompts
    images = {_image_name(request.control): request.control for request in requests}
    encoded = generation.codec.encode_control(list(images.values())) if generation.bundle.control else []
    conditions = {name: Named(name, latents) for name, latents in zip(images, encoded, strict=False)}
    negative = Named(prompt_name(spec.sampling.negative_prompt), prompts.embed(spec.sampling.negative_prompt))
    scale = next(iter(spec.model.adapters.values()), 1.0)
    return [
        Canvas(
            key=request.key,
            noise=NoiseKey(spec.sampling.seed, request.record.key, request.variant),
            table=generation.table,
            prompt=Named(prompt_name(request.prompt), prompts.embed(request.prompt)),
            negative_prompt=negative,
            guidance_scale=spec.sampling.guidance_scale,
            condition=conditions.get(_image_name(request.control)),
            conditioning_scale=scale,
        )
        for request in requests
    ]


def _image_name(image: np.ndarray) -> str:
    return hashlib.sha256(image.tobytes()).hexdigest()


def _decode(
    generation: Generation, requests: Sequence[SampleRequest], latents: dict[str, Tensor]
) -> tuple[list[GeneratedSample], list[SampleStatus]]:
    """Pictures of finite latents; a diverged sample is rejected alone."""
    finite: list[SampleRequest] = []
    broken: list[SampleStatus] = []
    for request in requests:
        if bool(torch.isfinite(latents[request.key]).all()):
            finite.append(request)
        else:
            reason = f"{request.key}: sampling gave values that are not finite"
            broken.append(_status(request, "rejected", reason))
    pictures = generation.codec.decode([latents[request.key] for request in finite])
    return [GeneratedSample(r, picture) for r, picture in zip(finite, pictures, strict=True)], broken


def _members(generation: Generation, sample: GeneratedSample) -> dict[str, bytes]:
    """Members of a sample by extension; the same ones in every sample of a build."""
    spec, record = generation.spec, sample.request.record
    blank = np.zeros(record.shape, np.uint8)
    labels = {
        "seg": record.conditions.get("segmentation", blank + IGNORE),
        FDI_MEMBER: record.fdi if record.fdi is not None else blank,
        **{CONDITION_MEMBER[name]: record.conditions[name] for name in spec.conditions.use},
    }
    return {
        spec.output.image_format: image_bytes(sample.picture, spec.output.image_format, TRAINED_ALGORITHMIC_MEDIA),
        **{f"{member}.png": png_bytes(array, DATA_DRIVEN_MEDIA) for member, array in labels.items()},
        "json": json_bytes(_metadata(generation, sample.request).model_dump(mode="json")),
    }


def _metadata(generation: Generation, request: SampleRequest) -> SampleMetadata:
    spec, plan, record = generation.spec, generation.plan, request.record
    return SampleMetadata(
        key=request.key,
        source_key=record.key,
        group=record.group,
        split=record.split,
        variant=request.variant,
        seed=spec.sampling.seed,
        prompt=request.prompt,
        negative_prompt=spec.sampling.negative_prompt,
        scheduler=spec.sampling.scheduler,
        steps=spec.sampling.steps,
        guidance_scale=spec.sampling.guidance_scale,
        adapters=spec.model.adapters,
        decoder=spec.model.decoder,
        control={"use": "+".join(spec.conditions.use), "alpha": spec.conditions.alpha, "fit": spec.conditions.fit},
        size=spec.conditions.size,
        bundle=spec.model.bundle,
        bundle_digest=plan.bundle_digest,
        spec_digest=plan.spec_digest,
        software=plan.environment,
        source_licence=record.licence,
        attributes=record.attributes,
        teeth=_teeth(record),
        warnings=_warnings(record),
    )


def _warnings(record: ConditionRecord) -> tuple[str, ...]:
    found = list(record.warnings)
    if "segmentation" not in record.conditions:
        found.append("the source has no segmentation: seg is 255 (ignore) everywhere")
    if record.fdi is None:
        found.append("the source has no FDI map: fdi is 0 everywhere")
    return tuple(found)


def _status(request: SampleRequest, status: str, reason: str = "") -> SampleStatus:
    return SampleStatus(
        key=request.key,
        source_key=request.record.key,
        group=request.record.group,
        split=request.record.split,
        variant=request.variant,
        prompt=request.prompt,
        status="written" if status == "written" else "rejected",
        reason=reason,
        source_licence=request.record.licence,
        attributes=request.record.attributes,
        teeth=_teeth(request.record),
        light_level=_light_level(request.record),
        warnings=_warnings(request.record),
    )


def _teeth(record: ConditionRecord) -> tuple[int, ...]:
    return () if record.fdi is None else tuple(int(number) for number in np.unique(record.fdi) if number)


def _light_level(record: ConditionRecord) -> int | None:
    lit = record.conditions.get("lighting", np.zeros(0, np.uint8))
    return round(float(lit[lit > 0].mean())) if (lit > 0).any() else None


def _ledger_record(generation: Generation, unit: Unit, tar: bytes, samples: Sequence[SampleStatus]) -> LedgerRecord:
    return LedgerRecord(
        unit=unit.id,
        spec_digest=generation.plan.spec_digest,
        bundle_digest=generation.plan.bundle_digest,
        shard=storage.name_of(f"{unit.name}.tar") if tar else "",
        bytes=len(tar),
        sha256=digest_of(tar),
        samples=tuple(samples),
    )
