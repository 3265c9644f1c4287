"""Requests from Python are checked as a reader checks records; what cannot be used is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dentgen.errors import ConditionError, SpecError
from dentgen.generation.pipeline import Pipeline
from tests.conditions.painted_records import band, region
from tests.generation.test_pipeline import Members, pipe, pixels, request_of

__all__ = ["pipe"]


@pytest.mark.parametrize(
    ("changes", "file"),
    [
        ({"lighting": None}, "a: lighting"),
        ({"segmentation": np.full((128, 128), 9, np.uint8)}, "segmentation"),
        ({"lighting": np.zeros((128, 128, 3), np.uint8)}, "lighting"),
        ({"lighting": np.zeros((128, 128), np.float32)}, "lighting"),
        ({"lighting": np.zeros((64, 64), np.uint8)}, "a"),
        ({"painted": (region(band(64)),)}, "painted: gum: mask"),
        ({"painted": (region(band(128), strength=2.0),)}, "painted"),
        ({"painted": (region(band(128)),)}, "painted"),
        ({"key": "a.b"}, "key"),
        ({"prompt": "enamel " * 90}, "prompt"),
    ],
)
def test_unusable_requests_are_named(changes: dict[str, Any], file: str, demo_members: Members, pipe: Pipeline) -> None:
    request = request_of("a", demo_members[sorted(demo_members)[0]], **changes)
    with pytest.raises(ConditionError) as caught:
        list(pipe.stream([request]))
    assert caught.value.file.startswith(file)


def test_a_target_lighting_needs_a_reference_and_the_size_of_the_maps(demo_members: Members, pipe: Pipeline) -> None:
    key = min(demo_members)
    request = request_of(key, demo_members[key], target_lighting=pixels(demo_members[key]["light.png"]))
    with pytest.raises(SpecError) as caught:
        next(iter(pipe.stream([request])))
    assert (caught.value.key, caught.value.found) == ("target_lighting", "sampling.start_from noise")
    own = Pipeline.from_bundle(engine={"slots": 4}, conditions={"size": 64}, sampling={"start_from": "reference"})
    small = request_of(
        key,
        demo_members[key],
        photo=pixels(demo_members[key]["photo.png"]),
        target_lighting=np.ones((64, 64), np.uint8),
    )
    with pytest.raises(ConditionError) as wrong:
        next(iter(own.stream([small])))
    assert (wrong.value.file, wrong.value.expected) == ("target_lighting", "(128, 128), as of the other maps")
