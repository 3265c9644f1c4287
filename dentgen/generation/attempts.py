"""Decoded samples of a unit that pass its judges; those that fail are made again, as often as the spec says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from dentgen.diffusion.canvas import Canvas, Failed, Sampled
from dentgen.generation.canvases import CanvasFactory
from dentgen.generation.decoding import decode_samples
from dentgen.generation.finding_results import judge_samples
from dentgen.generation.gate import UnitGate
from dentgen.generation.generator import Generator
from dentgen.generation.samples import RejectedSample
from dentgen.records import GeneratedSample, SampleRequest

#: Samples canvases, which may still be in preparation, to clean latents, or an error, by key: an engine's ``run``, or
#: that of an engine shared by units.
Sampler = Callable[[Iterable[Canvas]], Mapping[str, Sampled]]


def accepted_samples(
    generator: Generator, requests: Sequence[SampleRequest], sampled: Mapping[str, Sampled], sampler: Sampler
) -> tuple[list[GeneratedSample], list[RejectedSample]]:
    """Decode and judge samples, and make those again that fail.

    Another attempt has other noise, which key, variant and number of the attempt name; everything else stays.

    Args:
        generator: Models and settings.
        requests: What to make, in order.
        sampled: Latents of the first attempt by key.
        sampler: Makes latents of further ones.

    Returns:
        Accepted samples in the order of the requests, and rejected ones with the last reason.

    Raises:
        ControlError: If a control branch failed: no property of the sample.
    """
    gate = None if generator.gate is None else UnitGate(generator.gate, _are_alike(generator))
    retry = 0 if generator.gate is None else generator.gate.spec.retry
    samples, lost = decode_samples(generator, requests, sampled)
    kept, failed = _judged(generator, samples, gate)
    for attempt in range(1, retry + 1 if failed else 1):
        again = [replace(one.request, attempt=attempt) for one in failed]
        samples, more = decode_samples(generator, again, _sampled_again(generator, again, sampler))
        lost += more
        accepted, failed = _judged(generator, samples, gate)
        kept += accepted
        if not failed:
            break
    order = {request.key: number for number, request in enumerate(requests)}
    return sorted(kept, key=lambda sample: order[sample.request.key]), [*lost, *failed]


def _are_alike(generator: Generator) -> bool:
    """Whether variants of a record share noise, or what they keep of a photo."""
    sampling = generator.spec.sampling
    return sampling.seed_to is not None or bool(sampling.repaint) or sampling.needs_photo


def _judged(
    generator: Generator, samples: Sequence[GeneratedSample], gate: UnitGate | None
) -> tuple[list[GeneratedSample], list[RejectedSample]]:
    """Samples that show what they must and pass the gate, and the others, which another attempt may mend."""
    kept, missed = judge_samples(samples, generator.spec.findings)
    if gate is None:
        return kept, missed
    accepted, rejected = gate.judge(kept)
    return accepted, [*missed, *rejected]


def _sampled_again(generator: Generator, requests: Sequence[SampleRequest], sampler: Sampler) -> dict[str, Sampled]:
    outcomes = CanvasFactory(generator).canvases_or_errors(requests)
    failed: dict[str, Sampled] = {one.key: one.error for one in outcomes if isinstance(one, Failed)}
    return {**sampler([one for one in outcomes if isinstance(one, Canvas)]), **failed}
