"""A bundle's networks as the engine calls them. Refuses to know canvases and files."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from torch import Tensor

from dentgen.models.control import control_residuals


class UNetDenoiser:
    """diffusers' UNet with residuals as one list, the middle block's last."""

    def __init__(self, unet: UNet2DConditionModel, *, compile_unet: bool = False) -> None:
        """Take a UNet; ``compile_unet`` compiles it for the engine's one fixed shape."""
        self._unet = torch.compile(unet) if compile_unet else unet

    def __call__(
        self, latents: Tensor, timesteps: Tensor, prompt_embeds: Tensor, residuals: Sequence[Tensor] | None
    ) -> Tensor:
        """Predicted noise, in the dtype of ``latents``."""
        extra = {}
        if residuals is not None:
            *down, middle = residuals
            extra = {"down_block_additional_residuals": tuple(down), "mid_block_additional_residual": middle}
        prediction: Tensor = self._unet(latents, timesteps, prompt_embeds, return_dict=False, **extra)[0]
        return prediction


class ControlBranch:
    """A ctrLoRA control net: condition latents in, residuals out."""

    def __init__(self, control: ControlNetModel) -> None:
        """Take a control net without hint, an adapter already merged."""
        self._control = control

    def __call__(self, condition_latents: Tensor, timesteps: Tensor, prompt_embeds: Tensor) -> Sequence[Tensor]:
        """Residuals, the middle block's last."""
        return control_residuals(self._control, condition_latents, timesteps, prompt_embeds)
