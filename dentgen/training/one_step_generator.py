"""A frozen network that makes clean latents from noise in one step, with or without residuals of a control net."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import torch
from diffusers import UNet2DConditionModel
from jaxtyping import Float, Int64
from torch import Tensor

from dentgen.errors import SpecError
from dentgen.models.lora import load_lora, lora_change
from dentgen.models.parts import LORAS, chosen_part, empty_text_encoder, empty_unet
from dentgen.models.trained_sampling import read_trained_sampling
from dentgen.spec.train_sections import TRAIN_STEPS
from dentgen.spec.train_students import NoiseConsistencySpec
from dentgen.training.frozen_networks import Unregistered, frozen_unet
from dentgen.training.noising import Noising
from dentgen.training.preview import predict_noise

_NOISIEST: Final = TRAIN_STEPS - 1


class OneStepGenerator:
    """The bundle's UNet with a one-step LoRA, if the spec names one; its weights are never trained."""

    def __init__(self, spec: NoiseConsistencySpec, noising: Noising, device: torch.device) -> None:
        """Load the UNet and add the LoRA to its weights.

        Raises:
            BundleError: If the bundle lacks the LoRA, or it does not fit.
            SpecError: If it was trained for several steps, or changes the text encoder.
        """
        unet = frozen_unet(spec, device)
        self._timestep = _NOISIEST
        if spec.generator is not None:
            self._timestep = _add_lora(unet, Path(spec.bundle), spec.generator)
        self._unet: Unregistered[UNet2DConditionModel] = Unregistered(unet)
        self._noising = noising

    def timesteps(self, count: int, device: torch.device) -> Int64[Tensor, " b"]:
        """The timestep of its only step, for so many rows."""
        return torch.full((count,), self._timestep, device=device)

    def clean(
        self, noise: Float[Tensor, "b 4 h w"], embeds: Tensor, residuals: list[Tensor] | None = None
    ) -> Float[Tensor, "b 4 h w"]:
        """Clean latents from standard normal ones; gradients reach the residuals."""
        timesteps = self.timesteps(len(noise), noise.device)
        predicted = predict_noise(self._unet.net, noise, timesteps, embeds, residuals)
        return self._noising.denoise(noise, predicted.float(), timesteps)


@torch.no_grad()
def _add_lora(unet: UNet2DConditionModel, bundle: Path, name: str) -> int:
    """Add a LoRA to a UNet's weights in place, and say at which timestep it makes its only step."""
    folder = chosen_part(bundle, LORAS, name)
    lora, trained = load_lora(folder, empty_unet(bundle), empty_text_encoder(bundle)), read_trained_sampling(folder)
    if lora.text_encoder:
        raise SpecError(file=str(folder), key="generator", found=next(iter(lora.text_encoder)), expected="UNet layers")
    if trained is not None and len(trained.timesteps) != 1:
        raise SpecError(file=str(folder), key="generator", found=f"{len(trained.timesteps)} steps", expected="one")
    change = lora_change({name: lora.unet}, {name: 1.0})
    for parameter, value in unet.named_parameters():
        value.copy_(change(parameter, value))
    return _NOISIEST if trained is None else trained.timesteps[0]
