"""Encoded images: each distinct one once, and masked photos for a UNet that sees the mask."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from dentgen.conditions.labels import TOOTH
from dentgen.conditions.readers.source import list_shards
from dentgen.conditions.unit_records import read_unit
from dentgen.generation.canvases import build_canvases
from dentgen.generation.encodings import Image, encode_conditions, image_name
from dentgen.generation.generator import load_generator
from dentgen.generation.requests import sample_requests
from dentgen.models.bundle import Bundle
from dentgen.pipeline.plan import make_plan
from tests.conftest import small_spec
from tests.diffusion.parts import inpainting_unet
from tests.generation.finding_records import record
from tests.generation.ways import FULL_SIZE


def test_every_distinct_control_image_is_encoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = load_generator(small_spec(tmp_path, tmp_path / "out", sampling={"variants": 3}))
    one, other = record("one"), record("other")
    other.conditions["lighting"] = other.conditions["lighting"] // 2
    requests = [*sample_requests(generator, one), *sample_requests(generator, other)]
    encoded: list[int] = []

    def encode(images: list[Image]) -> list[torch.Tensor]:
        encoded.append(len(images))
        return [torch.full((4, 8, 8), float(image.mean())) for image in images]

    monkeypatch.setattr(type(generator.codec), "encode_control", lambda codec, images: encode(images))
    found = encode_conditions(generator, requests, {})
    assert (encoded, len(found)) == ([2], 2)
    for request in requests:
        image = request.controls["blended"]
        latents = found["autoencoder", image_name(image)]
        assert float(latents.values[0, 0, 0]) == pytest.approx(float(image.mean()))
    first = {
        place: latents for place, latents in found.items() if place[1] == image_name(requests[0].controls["blended"])
    }
    assert encode_conditions(generator, requests, first).keys() == found.keys()
    assert encoded == [2, 1], "what is known is not encoded again"
    assert encode_conditions(generator, requests[:3], found).keys() == first.keys(), "what is not needed is dropped"


@pytest.mark.slow
def test_what_is_kept_is_what_the_mask_shows(source: Path, bundle: Path, miniature: Bundle) -> None:
    """The masked picture lacks what is painted, and a latent is kept only if every pixel of it is."""
    inpainting_unet(miniature).save_pretrained(bundle / "unet")
    way: dict[str, object] = {"start_from": "photo", "repaint": ["tooth"]}
    model: dict[str, object] = {"bundle": str(bundle)}
    spec = small_spec(source, source.parent / "out", conditions=FULL_SIZE, model=model, sampling=way)
    plan, generator = make_plan(spec), load_generator(spec)
    records, _ = read_unit(spec, plan.units[0], list_shards(str(source))[0])
    canvas = build_canvases(generator, sample_requests(generator, records[0]))[0]
    teeth = records[0].conditions["segmentation"] == TOOTH
    assert records[0].photo is not None
    (expected,) = generator.codec.encode_masked([records[0].photo], [~teeth])
    assert canvas.repaint is not None
    assert canvas.repaint.masked is not None
    assert torch.equal(canvas.repaint.masked, expected)
    for y, x in np.ndindex(16, 16):
        assert bool(canvas.repaint.keep[y, x]) == (not teeth[8 * y : 8 * y + 8, 8 * x : 8 * x + 8].any())


@pytest.mark.slow
def test_each_variant_shows_the_mask_of_its_own_findings(source: Path, bundle: Path, miniature: Bundle) -> None:
    """Variants of one record draw different findings, so a UNet that sees the mask sees different ones."""
    inpainting_unet(miniature).save_pretrained(bundle / "unet")
    asked = {"teeth": [11, 21], "probability": 0.5, "kind": "restoration", "part": "whole", "prompt": "gold crown"}
    spec = small_spec(
        source, source.parent / "out", model={"bundle": str(bundle)}, findings=[asked],
        sampling={"start_from": "photo", "repaint": ["gingiva"], "variants": 4},
    )  # fmt: skip
    plan, generator = make_plan(spec), load_generator(spec)
    records, _ = read_unit(spec, plan.units[0], list_shards(str(source))[0])
    requests = sample_requests(generator, records[0])
    canvases = build_canvases(generator, requests)
    masks = {request.finding_labels.tobytes() for request in requests if request.finding_labels is not None}
    shown = {
        canvas.repaint.masked.numpy().tobytes()
        for canvas in canvases
        if canvas.repaint and canvas.repaint.masked is not None
    }
    assert len(masks) == len(shown) > 1
