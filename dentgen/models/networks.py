"""Adapters from diffusers' networks to the engine's network protocols."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from torch import Tensor, nn

from dentgen.models.control import FullControl, control_residuals
from dentgen.models.pruning import fitting_residuals


def _compiled(net: nn.Module) -> nn.Module:
    """A network compiled for one fixed shape."""
    compiled: Any = torch.compile(net, dynamic=False)
    return cast("nn.Module", compiled)


class UNetDenoiser:
    """diffusers' UNet behind the engine's ``Denoiser`` protocol."""

    def __init__(self, unet: UNet2DConditionModel, *, compiled: bool = False) -> None:
        """Wrap a UNet; ``compiled`` compiles it for the engine's fixed shape."""
        self._unet: nn.Module = _compiled(unet) if compiled else unet
        self._config = unet.config

    def __call__(
        self, latents: Tensor, timesteps: Tensor, prompt_embeds: Tensor, residuals: Sequence[Tensor] | None
    ) -> Tensor:
        """Predict noise or velocity.

        Args:
            latents: (b, c, h, w) scaled noisy latents.
            timesteps: (b,) training timesteps.
            prompt_embeds: (b, tokens, width).
            residuals: Control residuals, the middle block's last; None for none.

        Returns:
            (b, 4, h, w), in the dtype of ``latents``.
        """
        extra = {}
        if residuals is not None:
            *down, middle = residuals
            fitting = tuple(fitting_residuals(down, self._config))
            extra = {"down_block_additional_residuals": fitting, "mid_block_additional_residual": middle}
        latents = latents.contiguous(memory_format=torch.channels_last)
        prediction: Tensor = self._unet(latents, timesteps, prompt_embeds, return_dict=False, **extra)[0]
        return prediction


class ControlBranch:
    """A ctrLoRA control net behind the engine's ``SharedControl`` protocol."""

    def __init__(self, control: ControlNetModel, *, compiled: bool = False) -> None:
        """Wrap a control net without pixel hint, with any adapter merged in."""
        self._control: nn.Module = _compiled(control) if compiled else control

    def __call__(self, condition_latents: Tensor, timesteps: Tensor, prompt_embeds: Tensor) -> Sequence[Tensor]:
        """Residuals of condition latents (b, 4, h, w), the middle block's last."""
        return control_residuals(self._control, condition_latents, timesteps, prompt_embeds)


class ControlNetBranch:
    """A full ControlNet behind the engine's ``RowControl`` protocol."""

    def __init__(self, full: FullControl, latent_size: tuple[int, int], *, compiled: bool = False) -> None:
        """Wrap a ControlNet whose hint is embedded beforehand, for latents of this height and width."""
        self._control: nn.Module = _compiled(full.network) if compiled else full.network
        self._hint_shape = (int(full.network.config["block_out_channels"][0]), *latent_size)

    @property
    def hint_shape(self) -> tuple[int, int, int]:
        """Shape (c, h, w) of hint features."""
        return self._hint_shape

    def __call__(self, latents: Tensor, timesteps: Tensor, prompt_embeds: Tensor, hints: Tensor) -> Sequence[Tensor]:
        """Residuals of noisy latents (b, 4, h, w) and hint features (b, c, h, w), the middle block's last."""
        return control_residuals(self._control, latents, timesteps, prompt_embeds, hints)
