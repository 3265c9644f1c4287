"""The work that all contestants share."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dentgen.benchmark.engine.work import Work, batches, make_work
from dentgen.errors import SpecError
from dentgen.generation.canvases import build_canvases
from dentgen.models.bundle import Bundle, load_bundle
from dentgen.spec.yaml_file import read_spec
from tests.benchmark.engine.conftest import DEMO_SPEC


@pytest.mark.parametrize(
    ("slots", "variants", "times", "images"),
    [(2, 1, 1, 8), (4, 2, 1, 16), (3, 1, 1, 24), (4, 1, 5, 24), (16, 4, 4, 64)],
)
def test_slots_and_codec_batches_are_full(
    miniature: Bundle, slots: int, variants: int, times: int, images: int
) -> None:
    """The codec takes eight images, and encodes one per record."""
    spec = read_spec(DEMO_SPEC, [f"engine.slots={slots}", f"sampling.variants={variants}", "conditions.size=64"])
    work = make_work(spec, miniature, times)
    assert len(work.requests) == images
    assert work.records == images // variants
    assert work.ticks == images * 4 / slots
    keys = [request.record.key for request in work.requests]
    assert keys == [key for key in dict.fromkeys(keys) for _ in range(variants)], "variants are adjacent"


def test_noise_is_what_the_engines_canvases_start_from(work: Work) -> None:
    canvases = build_canvases(work.generator, work.requests)
    assert torch.equal(work.noise(), torch.stack([canvas.noise.normal("initial", 0, (4, 8, 8)) for canvas in canvases]))


def test_control_images_differ_from_record_to_record(work: Work) -> None:
    images = work.control_images()
    assert len(np.unique(np.stack(images).reshape(len(images), -1), axis=0)) == len(work.requests)


def test_batches_are_a_partition(work: Work) -> None:
    parts = batches(work, 3)
    assert [len(part.requests) for part in parts] == [3, 3, 2]
    assert [request for part in parts for request in part.requests] == list(work.requests)
    assert work.first(3).requests == parts[0].requests


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("sampling.guidance_scale=2", "sampling.guidance_scale"),
        ("sampling.prompt=teeth", "sampling.prompt"),
        ("sampling.scheduler_options={solver_order: 3}", "sampling.scheduler_options"),
        ("sampling.scheduler={_class_name: DDIMScheduler}", "sampling.scheduler"),
        ("conditions.use=[segmentation]", "conditions.use"),
        ("conditions.size=[64,96]", "conditions.size"),
    ],
)
def test_work_that_diffusers_would_do_otherwise_is_rejected(miniature: Bundle, override: str, key: str) -> None:
    with pytest.raises(SpecError) as caught:
        make_work(read_spec(DEMO_SPEC, [override]), miniature, times=1)
    assert caught.value.key == key


def test_several_control_nets_are_rejected() -> None:
    overrides = ["conditions.combine=sum", "model.adapters={segmentation: 1, lighting: 1}"]
    spec = read_spec(DEMO_SPEC, overrides)
    with pytest.raises(SpecError) as caught:
        make_work(spec, load_bundle(spec.model), times=1)
    assert caught.value.key.startswith("model.adapters")
