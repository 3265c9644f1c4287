"""The naive baseline generates labelled samples; Ray runs it in the benchmark's own test."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dentgen.benchmark.naive_build import NaiveGenerator, build_naively, check_naive
from dentgen.errors import SpecError
from dentgen.spec.yaml_file import read_spec
from tests.conftest import ROOT

DEMO_SPEC = ROOT / "jobs" / "specs" / "demo.yaml"
ENVIRONMENT = {"device": "cpu", "dtype": "float32"}


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


@pytest.mark.slow
def test_a_batch_gets_images_and_keeps_its_labels(demo_members: dict[str, dict[str, bytes]]) -> None:
    spec = read_spec(ROOT / "jobs/specs/demo.yaml", ["sampling.steps=2", "conditions.size=128"])
    keys = sorted(demo_members)[:2]
    rows: list[tuple[str, int]] = [(keys[0], 0), (keys[0], 1), (keys[1], 0)]
    batch: dict[str, Any] = {"__key__": [key for key, _ in rows], "variant": [variant for _, variant in rows]}
    for extension in ("seg.png", "fdi.png", "light.png", "json"):
        batch[extension] = [demo_members[key][extension] for key, _ in rows]
    samples = NaiveGenerator(spec.model_dump(mode="json"), ENVIRONMENT)(batch)
    assert samples["__key__"] == [f"{key}-v{variant:03d}" for key, variant in rows]
    images = [pixels(content) for content in samples["png"]]
    assert {image.shape for image in images} == {(128, 128, 3)}
    for number, (key, _) in enumerate(rows):
        assert np.array_equal(pixels(samples["seg.png"][number]), pixels(demo_members[key]["seg.png"]))
        assert np.array_equal(pixels(samples["light.png"][number]), pixels(demo_members[key]["light.png"]))
    wide = spec.model_copy(update={"conditions": spec.conditions.model_copy(update={"size": (64, 96)})})
    shaped = NaiveGenerator(wide.model_dump(mode="json"), ENVIRONMENT)(batch)
    assert {pixels(content).shape[:2] for name in ("png", "seg.png") for content in shaped[name]} == {(64, 96)}
    teeth = pixels(samples["seg.png"][0]) == 2
    for image in images[:2]:
        assert image[teeth].mean() > image[~teeth].mean(), "teeth are brighter than their surroundings"
    assert not np.array_equal(images[0], images[1]), "variants have their own noise"


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("pipeline.actors=2", "pipeline.actors"),
        ("sampling.guidance_scale=3", "sampling.guidance_scale"),
        ("model.adapters={}", "model.adapters"),
        ("model.decoder=tiny", "model.decoder"),
        ("model.loras={lcm: 1}", "model.loras"),
        ("findings=[{teeth: [11], prompt: gold crown}]", "findings"),
        ("sampling.window=128", "sampling.window"),
    ],
)
def test_what_the_baseline_would_ignore_is_refused(override: str, key: str) -> None:
    """Both by the benchmark and by whoever calls the baseline."""
    spec = read_spec(DEMO_SPEC, [override])
    with pytest.raises(SpecError) as caught:
        check_naive(spec)
    assert caught.value.key == key
    with pytest.raises(SpecError) as caught:
        build_naively(spec, ENVIRONMENT, 4)
    assert caught.value.key == key
