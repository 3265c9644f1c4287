"""diffusers' own pipeline generates the engine's images."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dentgen.benchmark.engine.contestants import EngineContestant
from dentgen.benchmark.engine.pictures import compare_pictures
from dentgen.benchmark.engine.pipelines import LatentControlNet, PipelineContestant, Recipe
from dentgen.benchmark.engine.work import Work


@pytest.mark.slow
def test_images_are_those_of_the_engine(work: Work) -> None:
    pipeline = PipelineContestant.of(work, Recipe("unipc", 2, batch=3))
    assert list(pipeline.pieces(work)) == ["call"] * 3
    engine = work.engine()
    engine.warm_up()
    contestant = EngineContestant(engine)
    for _ in contestant.pieces(work):
        pass
    differences = compare_pictures(contestant.pictures, pipeline.pictures, torch.float32)
    assert differences["largest"] <= 1 < differences["mean_to_neighbour"]


def test_guidance_changes_images(work: Work) -> None:
    few = work.first(2)
    plain, guided = (
        PipelineContestant.of(work, Recipe("unipc", 2, batch=2, guidance_scale=scale, negative_prompt="blurry"))
        for scale in (1.0, 5.0)
    )
    for contestant in (plain, guided):
        assert list(contestant.pieces(few)) == ["call"]
    assert all(np.abs(plain.pictures[key].astype(int) - guided.pictures[key]).mean() > 1 for key in plain.pictures)


def test_a_control_image_is_encoded_once_per_call(work: Work) -> None:
    net = LatentControlNet.of(work.generator.bundle, work.spec.engine.codec_batch, guided=False, compiled=False)
    encoded: list[int] = []
    encode = net._encode

    def counted(images: torch.Tensor) -> torch.Tensor:
        encoded.append(len(images))
        return encode(images)

    net._encode = counted
    latents, prompts = torch.zeros(2, 4, 8, 8), torch.zeros(2, *work.generator.prompts.shape)
    first, second = torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        for image in (first, first, second):
            net(latents, torch.tensor(500), encoder_hidden_states=prompts, controlnet_cond=image, return_dict=False)
    assert encoded == [2, 2]
