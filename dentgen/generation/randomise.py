"""Draws of a sample: its prompt, and the scales of control and guidance."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from dentgen.records import SampleRequest
from dentgen.seeding import numpy_generator
from dentgen.spec.randomise import RandomiseSpec

#: Decimals of drawn scales, so that metadata say exactly what acted.
_DECIMALS: Final = 3


def randomised(spec: RandomiseSpec, request: SampleRequest) -> SampleRequest:
    """The request with what its seed, key and noise draw; each draw is the same whatever else is drawn."""
    if spec.prompts:
        said = spec.said(request.prompt)
        request = replace(request, prompt=said[_generator(request, "prompt").integers(len(said))])
    if spec.control_scale is not None:
        request = replace(request, control_scale=_between(request, "control scale", spec.control_scale))
    if spec.guidance_scale is not None:
        request = replace(request, guidance_scale=_between(request, "guidance scale", spec.guidance_scale))
    return request


def _generator(request: SampleRequest, purpose: str) -> np.random.Generator:
    return numpy_generator(request.seed, "randomise", purpose, request.record.key, request.noise)


def _between(request: SampleRequest, purpose: str, ends: tuple[float, float]) -> float:
    return round(float(_generator(request, purpose).uniform(*ends)), _DECIMALS)
