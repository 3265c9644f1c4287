"""Condition records to requests for samples: all variants of a record, and whether it has what they need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dentgen.conditions.prepare import control_image
from dentgen.errors import ConditionError
from dentgen.generation.encodings import Image
from dentgen.generation.findings import check_findings, region_prompt
from dentgen.generation.generator import Generator
from dentgen.generation.pasting import check_repaint
from dentgen.generation.regions import painted_prompts
from dentgen.generation.variants import check_variants, vary
from dentgen.records import MOTION_MEMBERS, ConditionRecord, MapArray, SampleRequest
from dentgen.spec.findings import FindingSpec


def sample_requests(
    generator: Generator,
    record: ConditionRecord,
    *,
    prompt: str | None = None,
    seed: int | None = None,
    variants: int | None = None,
    findings: Sequence[FindingSpec] | None = None,
) -> list[SampleRequest]:
    """All variants of a fitted record.

    Args:
        generator: Models and settings.
        record: The record.
        prompt: Its prompt; None takes the spec's, or the record's own.
        seed: Seed of the noise; None takes the spec's.
        variants: Number of variants; None takes the spec's, times the record's oversampling factor.
        findings: Findings to ask for; None takes the spec's.
    """
    spec = generator.spec
    prompt = next(text for text in (prompt, spec.sampling.prompt, record.prompt) if text is not None)
    seed = spec.sampling.seed if seed is None else seed
    variants = spec.sampling.variants * spec.source.repeats(record.attributes) if variants is None else variants
    prompts = {prompt, spec.sampling.negative_prompt, spec.sampling.prompt_to or ""}
    prompts |= {region_prompt(finding, prompt) for finding in spec.findings} | {*spec.variants.prompts}
    prompts |= {*painted_prompts(record.painted), *spec.randomise.said(prompt)}
    dropped = " / ".join(filter(None, map(generator.prompts.dropped, sorted(prompts))))
    controls = _control_images(generator, record)
    kept = controls if spec.sampling.frames > 1 else {}
    plain = SampleRequest(
        record.key, record, 0, variants, seed, prompt, controls, dropped, reference_controls=kept
    )  # fmt: skip
    asked = spec.findings if findings is None else findings
    return [_controlled(generator, vary(spec, plain, number, asked), plain) for number in range(variants)]


def with_lighting(generator: Generator, request: SampleRequest, lighting: MapArray) -> SampleRequest:
    """The request under another light (H, W) uint8; what it keeps of its photo stays under the old one."""
    record = replace(request.record, conditions={**request.record.conditions, "lighting": lighting})
    return replace(request, record=record, controls=_control_images(generator, record))


def _controlled(generator: Generator, request: SampleRequest, plain: SampleRequest) -> SampleRequest:
    """The request with its own control images, if its maps are not those of the record."""
    if request.record is plain.record:
        return request
    return replace(request, controls=_control_images(generator, request.record))


def _control_images(generator: Generator, record: ConditionRecord) -> dict[str, Image]:
    """The control image of every branch; branches of the same conditions share it."""
    alpha = generator.spec.conditions.alpha
    images = {use: control_image(record, use, alpha) for use in {route.use for route in generator.routes}}
    return {route.branch: images[route.use] for route in generator.routes}


def check_requests(generator: Generator, requests: Sequence[SampleRequest]) -> None:
    """As ``check_request``, of all variants of a record, which differ in their prompts at most.

    Raises:
        ConditionError: As there.
    """
    check_request(generator, requests[0])
    for prompt in {request.prompt for request in requests}:
        _check_prompt(generator, prompt)


def check_request(generator: Generator, request: SampleRequest) -> None:
    """Check that a record has what the spec's way of sampling needs.

    Raises:
        ConditionError: If a prompt is too long, there are more painted regions than the spec says, or a photo,
            segmentation or tooth numbers to start from, a series or its motion are missing.
    """
    sampling, record = generator.spec.sampling, request.record
    if sampling.needs_photo and record.photo is None:
        raise ConditionError("photo", "none", f"a photo, because sampling.start_from is {sampling.start_from}")
    if len(record.painted) > (most := generator.spec.regions.painted):
        raise ConditionError("painted", f"{len(record.painted)} regions", f"at most {most}, by regions.painted")
    for prompt in painted_prompts(record.painted):
        generator.prompts.embed(prompt)
    _check_series(record, sampling.noise)
    check_repaint(record, sampling)
    check_findings(record, generator.spec.findings)
    check_variants(record, generator.spec.variants.change)
    for prompt in (request.prompt, *generator.spec.variants.prompts):
        _check_prompt(generator, prompt)
    by_class = [route.branch for route in generator.routes if route.by_class is not None]
    if by_class and "segmentation" not in record.conditions:
        raise ConditionError("seg", "none", f"a segmentation, because the scale of {by_class[0]} names classes")


def _check_prompt(generator: Generator, prompt: str) -> None:
    """Embed a prompt, and those of findings that may say it."""
    generator.prompts.embed(prompt)
    for finding in generator.spec.findings:
        generator.prompts.embed(region_prompt(finding, prompt))


def _check_series(record: ConditionRecord, noise: str) -> None:
    """Require what noise that records share needs: a record without it would have noise of its own without a word."""
    if noise != "record" and record.frame is None:
        raise ConditionError("series, frame", "none", f"a series, because sampling.noise is {noise}")
    if noise == "motion" and record.motion is None:
        raise ConditionError(", ".join(MOTION_MEMBERS), "none", "motion maps, because sampling.noise is motion")
