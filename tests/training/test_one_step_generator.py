"""A frozen one-step generator: the UNet with its LoRA, at the LoRA's own timestep; what cannot be one is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from dentgen.errors import BundleError, SpecError
from dentgen.models.lora import lora_file
from dentgen.models.trained_sampling import TrainedSampling
from dentgen.training.frozen_networks import FrozenText
from dentgen.training.lora_student import lora_unet, write_lora
from dentgen.training.noising import Noising
from dentgen.training.one_step_generator import OneStepGenerator
from dentgen.training.preview import predict_noise
from tests.training.runs import CPU, copied_bundle, train_spec


def spec_of(phantoms: str, folder: Path, **values: Any) -> Any:
    return train_spec(phantoms, folder, "noise-consistency", **values)


def generator_of(phantoms: str, folder: Path, name: str) -> OneStepGenerator:
    spec = spec_of(phantoms, folder, generator=name)
    return OneStepGenerator(spec, Noising(spec, CPU), CPU)


def add_lora(bundle: Path, phantoms: str, name: str, header: dict[str, str], scale: float = 0.05) -> None:
    """A LoRA with weights as if it had been trained."""
    unet, rng = lora_unet(train_spec(phantoms, bundle.parent, "dmd-lora"), CPU, name), torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in unet.parameters():
            if parameter.requires_grad:
                parameter.copy_(scale * torch.randn(parameter.shape, generator=rng))
    write_lora(unet, bundle, name, header)


@torch.no_grad()
def test_the_generator_is_the_unet_with_its_lora_in_one_step(phantoms: str, family: Path, tmp_path: Path) -> None:
    folder = copied_bundle(family, tmp_path)
    add_lora(folder / "bundle", phantoms, "quick", TrainedSampling("lcm", (759,)).header())
    spec = spec_of(phantoms, folder, generator="quick")
    noising, noise = Noising(spec, CPU), torch.randn((2, 4, 8, 8), generator=torch.Generator().manual_seed(4))
    embeds = FrozenText(spec, CPU)(["teeth", "gums"])
    unet = lora_unet(train_spec(phantoms, folder, "dmd-lora"), CPU, "x")
    unet.delete_adapters("default")
    plain = OneStepGenerator(spec_of(phantoms, folder), noising, CPU).clean(noise, embeds)
    at = torch.full((2,), 999)
    expected = noising.denoise(noise, predict_noise(unet, noise, at, embeds, None), at)
    torch.testing.assert_close(plain, expected)
    unet.load_lora_adapter(load_file(lora_file(folder / "bundle" / "loras" / "quick")), prefix="unet")
    at = torch.full((2,), 759)
    expected = noising.denoise(noise, predict_noise(unet, noise, at, embeds, None), at)
    torch.testing.assert_close(
        OneStepGenerator(spec, noising, CPU).clean(noise, embeds), expected, rtol=1e-3, atol=1e-3
    )
    assert not torch.allclose(plain, expected, atol=0.05)


def test_generators_of_several_steps_and_missing_ones_are_refused_by_name(
    phantoms: str, family: Path, tmp_path: Path
) -> None:
    folder = copied_bundle(family, tmp_path)
    add_lora(folder / "bundle", phantoms, "slow", TrainedSampling("lcm", (999, 499)).header())
    with pytest.raises(SpecError) as caught:
        generator_of(phantoms, folder, "slow")
    assert (caught.value.key, caught.value.found, caught.value.expected) == ("generator", "2 steps", "one")
    with pytest.raises(BundleError):
        generator_of(phantoms, folder, "nobody")
