"""Networks of Stable Diffusion 1.5's size: published parameter counts and counted operations, on the meta device."""

from __future__ import annotations

import pytest
import torch

from dentgen.benchmark.engine.flops import count_networks
from dentgen.models.bundle import Bundle
from dentgen.models.sd15 import SIZE, random_sd15


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return random_sd15(decoder="tiny", device="meta", dtype=torch.float16)


def millions(net: torch.nn.Module | None) -> float:
    assert net is not None
    return round(sum(parameter.numel() for parameter in net.parameters()) / 1e6, 2)


@pytest.mark.slow
def test_parameter_counts_are_those_of_stable_diffusion(bundle: Bundle) -> None:
    assert millions(bundle.unet) == 859.52
    assert millions(bundle.vae) == 83.65
    assert millions(bundle.text_encoder) == 123.06
    assert millions(bundle.tiny_decoder) == 2.45
    assert millions(bundle.control) == 360.19, "361.28 without the pixel hint"


@pytest.mark.slow
def test_operation_counts_are_known(bundle: Bundle) -> None:
    """TFLOP per call: 0.803 for a UNet row with attention, 0.269 for a control row, 0.141 for the tiny decoder."""
    flops = count_networks(bundle, (SIZE, SIZE), 77, 768)
    assert (round(flops.unet), round(flops.control), round(flops.encode), round(flops.decode)) == (803, 269, 1117, 141)
    kl = count_networks(random_sd15(device="meta"), (SIZE, SIZE), 77, 768)
    assert round(kl.decode) == 2515
    assert kl.unet == flops.unet


@pytest.mark.slow
def test_random_weights_give_finite_predictions_that_depend_on_control() -> None:
    bundle = random_sd15()
    generator = torch.Generator().manual_seed(0)
    latents, prompt = torch.randn(1, 4, 8, 8, generator=generator), torch.randn(1, 77, 768, generator=generator)
    assert bundle.control is not None
    down, middle = bundle.control(latents, 500, prompt, controlnet_cond=latents.new_zeros(1), return_dict=False)
    with_control = bundle.unet(
        latents, 500, prompt, down_block_additional_residuals=down, mid_block_additional_residual=middle
    ).sample
    without = bundle.unet(latents, 500, prompt).sample
    assert torch.isfinite(with_control).all()
    assert float((with_control - without).std()) > 1e-3 * float(without.std())
