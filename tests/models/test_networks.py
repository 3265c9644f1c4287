"""Networks as the engine calls them against direct calls of diffusers' models."""

from __future__ import annotations

import numpy as np
import torch

from dentgen.models.bundle import Bundle
from dentgen.models.control import control_residuals
from dentgen.models.networks import ControlBranch, ControlNetBranch, UNetDenoiser
from tests.diffusion.parts import full_control

GENERATOR = torch.Generator().manual_seed(1)
LATENTS, TIMES = torch.randn(2, 4, 16, 16, generator=GENERATOR), torch.tensor([999.0, 249.0])
PROMPTS = torch.randn(2, 77, 128, generator=GENERATOR)


@torch.no_grad()
def test_a_denoiser_equals_the_unet(miniature: Bundle) -> None:
    assert miniature.control is not None
    residuals = control_residuals(miniature.control, LATENTS, TIMES, PROMPTS)
    denoise = UNetDenoiser(miniature.unet)
    expected = miniature.unet(LATENTS, TIMES, PROMPTS).sample
    torch.testing.assert_close(denoise(LATENTS, TIMES, PROMPTS, None), expected)
    controlled = miniature.unet(
        LATENTS, TIMES, PROMPTS, down_block_additional_residuals=tuple(residuals[:-1]),
        mid_block_additional_residual=residuals[-1],
    ).sample  # fmt: skip
    torch.testing.assert_close(denoise(LATENTS, TIMES, PROMPTS, residuals), controlled)
    assert not torch.allclose(controlled, expected, atol=1e-3)


@torch.no_grad()
def test_a_control_branch_gives_the_residuals_of_its_net(miniature: Bundle) -> None:
    assert miniature.control is not None
    found = ControlBranch(miniature.control)(LATENTS, TIMES, PROMPTS)
    expected = control_residuals(miniature.control, LATENTS, TIMES, PROMPTS)
    assert len(found) == len(expected) == 7
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@torch.no_grad()
def test_a_controlnet_branch_gives_the_residuals_of_the_whole_controlnet(miniature: Bundle) -> None:
    whole, full = full_control(miniature)
    branch = ControlNetBranch(full, (16, 16))
    image = np.random.default_rng(1).integers(0, 256, (128, 128, 3), np.uint8)
    features = full.embed(image)
    assert branch.hint_shape == features.shape
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float().expand(2, -1, -1, -1) / 255
    down, middle = whole(LATENTS, TIMES, PROMPTS, controlnet_cond=pixels, return_dict=False)
    found = branch(LATENTS, TIMES, PROMPTS, features[None].expand(2, -1, -1, -1))
    for residual, expected in zip(found, [*down, middle], strict=True):
        torch.testing.assert_close(residual, expected, rtol=1e-4, atol=1e-4)
