"""Latents to pictures: decoded in batches, repainted parts pasted, samples that failed or diverged told apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import torch
from torch import Tensor

from dentgen.diffusion.canvas import Sampled
from dentgen.errors import ControlError
from dentgen.generation.generator import Generator
from dentgen.generation.pasting import pasted
from dentgen.generation.samples import RejectedSample
from dentgen.records import GeneratedSample, SampleRequest

_NOT_FINITE: Final = "values that are not finite"


def decode_samples(
    generator: Generator, requests: Sequence[SampleRequest], sampled: Mapping[str, Sampled]
) -> tuple[list[GeneratedSample], list[RejectedSample]]:
    """Decode finite latents, and paste repainted parts; a sample that failed or diverged is rejected alone.

    Raises:
        ControlError: If a control branch failed: no property of the sample.
    """
    samples: list[GeneratedSample] = []
    rejected: list[RejectedSample] = []
    finite: list[tuple[SampleRequest, Tensor]] = []
    for request in requests:
        result = sampled[request.key]
        if isinstance(result, ControlError):
            raise result
        if not isinstance(result, Tensor):
            rejected.append(RejectedSample(request, str(result)))
        elif not bool(torch.isfinite(result).all()):
            rejected.append(RejectedSample(request, f"{request.key}: sampling gave {_NOT_FINITE}"))
        else:
            finite.append((request, result.chunk(generator.spec.sampling.frames, -1)[-1].contiguous()))
    pictures = generator.codec.decode_finite([latents for _, latents in finite])
    for (request, _), picture in zip(finite, pictures, strict=True):
        if picture is None:
            rejected.append(RejectedSample(request, f"{request.key}: decoding gave {_NOT_FINITE}"))
        else:
            whole = pasted(picture, request, generator.spec.sampling)
            samples.append(GeneratedSample(request, whole))
    return samples, rejected
