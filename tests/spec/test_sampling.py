"""The sampling section: what upscale sets, and what contradicts itself."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from dentgen.spec.build import BuildSpec


def test_upscale_starts_from_photos_unless_the_spec_names_strength() -> None:
    sampling = BuildSpec.model_validate({"sampling": {"upscale": 2}}).sampling
    assert (sampling.start_from, sampling.strength, sampling.window) == ("photo", 0.3, None)
    named = BuildSpec.model_validate({"sampling": {"upscale": 4, "strength": 0.7}}).sampling
    assert (named.upscale, named.strength) == (4, 0.7)
    for wrong in ({"upscale": 3}, {"upscale": 2, "start_from": "noise"}):
        with pytest.raises(ValidationError):
            BuildSpec.model_validate({"sampling": wrong})


@pytest.mark.parametrize(
    ("sections", "key"),
    [
        ({"sampling": {"negative_prompt": "yellow"}}, ("sampling",)),
        ({"sampling": {"steps": 4, "timesteps": [999, 499]}}, ("sampling",)),
        ({"sampling": {"strength": 0.5}}, ("sampling",)),
        ({"sampling": {"repaint": ["tooth"]}}, ("sampling",)),
        ({"sampling": {"paste_border": 4, "start_from": "photo"}}, ("sampling",)),
        ({"sampling": {"start_from": "reference", "strength": 0.5}}, ("sampling",)),
        ({"sampling": {"start_from": "reference", "repaint": ["tooth"]}}, ("sampling",)),
        ({"sampling": {"start_from": "reference", "window": 64}}, ("sampling",)),
    ],
)
def test_contradictions_are_refused(sections: dict[str, Any], key: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError) as caught:
        BuildSpec.model_validate(sections)
    assert [fault["loc"] for fault in caught.value.errors()] == [key]


def test_a_reference_takes_a_second_frame_and_a_photo() -> None:
    for start, frames, photo in (("noise", 1, False), ("photo", 1, True), ("reference", 2, True)):
        sampling = BuildSpec.model_validate({"sampling": {"start_from": start}}).sampling
        assert (sampling.frames, sampling.needs_photo, sampling.synthetic) == (frames, photo, not photo)
