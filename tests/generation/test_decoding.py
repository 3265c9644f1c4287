"""Latents to pictures: what is not finite, or failed before, is rejected alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from dentgen.diffusion.canvas import Sampled
from dentgen.errors import CanvasError, ControlError
from dentgen.generation.decoding import decode_samples
from dentgen.generation.generator import Generator, load_generator
from dentgen.generation.requests import sample_requests
from dentgen.records import SampleRequest
from tests.conftest import small_spec
from tests.generation.finding_records import record


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Generator:
    folder: Path = tmp_path_factory.mktemp("decoding")
    return load_generator(small_spec(folder, folder / "out", conditions={"size": 64}))


def requests_of(generator: Generator) -> list[SampleRequest]:
    return sample_requests(generator, record(), variants=4)


def latents(seed: int) -> torch.Tensor:
    return torch.randn((4, 8, 8), generator=torch.Generator().manual_seed(seed))


def test_a_sample_that_failed_or_diverged_is_rejected_alone(generator: Generator) -> None:
    requests = requests_of(generator)
    sampled: dict[str, Sampled] = {request.key: latents(number) for number, request in enumerate(requests)}
    samples, rejected = decode_samples(generator, requests, sampled)
    assert (len(samples), rejected) == (4, [])
    broken: dict[str, Sampled] = {
        **sampled, requests[1].key: torch.full((4, 8, 8), torch.nan), requests[2].key: CanvasError("planted", key="k"),
    }  # fmt: skip
    fewer, lost = decode_samples(generator, requests, broken)
    assert [one.request.variant for one in lost] == [2, 1] or [one.request.variant for one in lost] == [1, 2]
    assert {one.request.variant: one.reason for one in lost}[1].endswith("sampling gave values that are not finite")
    assert "planted" in {one.request.variant: one.reason for one in lost}[2]
    for one in fewer:
        np.testing.assert_array_equal(one.picture, samples[one.request.variant].picture)


def test_an_error_of_a_control_branch_is_no_property_of_the_sample(generator: Generator) -> None:
    requests = requests_of(generator)
    with pytest.raises(ControlError):
        decode_samples(generator, requests, {request.key: ControlError("planted") for request in requests})
