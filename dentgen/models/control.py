"""Control nets: ctrLoRA's, which see the condition latents and never the noisy ones, and full ControlNets.

ctrLoRA's base net is diffusers' ``ControlNetModel`` without its pixel hint (Xu et al. 2024,
https://arxiv.org/abs/2410.09400).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from jaxtyping import Float
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from dentgen.errors import BundleError
from dentgen.models.bundle_files import faults_of_folder, weights_files
from dentgen.models.checkpoints.file import read_shapes
from dentgen.models.parts import load_diffusers
from dentgen.models.weights import load_network

WEIGHTS: Final = "diffusion_pytorch_model.safetensors"


class NoHint(nn.Module):
    """Replaces the hint embedding of a ControlNet whose hint is absent (ctrLoRA) or already embedded."""

    def forward(self, hint: Tensor) -> Tensor:
        """Return the hint unchanged."""
        return hint


def control_from_unet(unet: UNet2DConditionModel) -> ControlNetModel:
    """A new, untrained base: the UNet's encoder with zero convolutions."""
    control: ControlNetModel = ControlNetModel.from_unet(unet)
    control.controlnet_cond_embedding = NoHint()
    return control


def control_residuals(
    control: nn.Module, latents: Tensor, timesteps: Tensor, prompt_embeds: Tensor, hints: Tensor | None = None
) -> list[Tensor]:
    """Residuals of a control net, the middle block's last.

    Args:
        control: A control net without hint embedding, with or without adapter.
        latents: (b, 4, h, w): for ctrLoRA scaled latents of control images in [0, 1], for a full ControlNet noisy ones.
        timesteps: (b,) training timesteps.
        prompt_embeds: (b, tokens, width).
        hints: (b, c, h, w) embedded hints of a full ControlNet; None for ctrLoRA.
    """
    hints = latents.new_zeros(1) if hints is None else hints
    latents = latents.contiguous(memory_format=torch.channels_last)
    down, middle = control(latents, timesteps, prompt_embeds, controlnet_cond=hints, return_dict=False)
    return [*down, middle]


@dataclass(frozen=True, slots=True, eq=False)
class FullControl:
    """A ControlNet in two parts: the hint embedding runs once per condition, the rest at every step.

    Attributes:
        network: The ControlNet without its hint embedding.
        hint: The hint embedding, from pixels (b, 3, H, W) in [0, 1] to features (b, c, h, w).
        is_bgr: Whether the hint embedding expects BGR pixels.
    """

    network: ControlNetModel
    hint: nn.Module
    is_bgr: bool

    @torch.no_grad()
    def embed(self, image: NDArray[np.uint8]) -> Float[Tensor, "c h w"]:
        """Hint features (c, h, w) of a control image (H, W, 3) uint8, embedded alone to depend on nothing else."""
        image = image[..., ::-1].copy() if self.is_bgr else image
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None].to(self.network.device, self.network.dtype) / 255
        features: Tensor = self.hint(pixels)[0]
        return features


def split_hint(control: ControlNetModel) -> FullControl:
    """Split a ControlNet into its two parts, in place."""
    hint, is_bgr = control.controlnet_cond_embedding, control.config["controlnet_conditioning_channel_order"] == "bgr"
    control.controlnet_cond_embedding = NoHint()
    control.register_to_config(controlnet_conditioning_channel_order="rgb")  # "bgr" would flip the features' channels
    return FullControl(control, hint, is_bgr)


def load_full_control(folder: Path, dtype: torch.dtype, *, channels_last: bool = False) -> FullControl:
    """Load a ControlNet in diffusers' layout.

    Raises:
        BundleError: If it cannot be read, or its hint does not have three channels.
    """
    control = load_diffusers(ControlNetModel, folder, dtype, channels_last=channels_last)
    channels = control.config["conditioning_channels"]
    if channels != 3:
        raise BundleError(file=str(folder), key="conditioning_channels", found=channels, expected=3)
    return split_hint(control.eval())


def base_of_config(config: Mapping[str, Any]) -> ControlNetModel:
    """A base without weights that are worth anything."""
    control: ControlNetModel = ControlNetModel.from_config(dict(config))
    control.controlnet_cond_embedding = NoHint()
    return control


def _check_base(folder: Path) -> None:
    """Reject a full ControlNet in place of a ctrLoRA base."""
    names = [name for file in weights_files(folder) for name in read_shapes(file)]
    if any(name.startswith("controlnet_cond_embedding.") for name in names):
        expected = "a ctrLoRA base without pixel hint"
        raise BundleError(file=str(folder), found="a ControlNet with a pixel hint", expected=expected)


def save_control(control: ControlNetModel, folder: Path) -> None:
    """Save config and weights (fp16) in diffusers' layout."""
    folder.mkdir(parents=True, exist_ok=True)
    control.save_config(folder)
    state = {name: value.detach().half().contiguous() for name, value in control.state_dict().items()}
    save_file(state, folder / WEIGHTS, metadata={"format": "pt"})


def load_control(folder: Path, dtype: torch.dtype, *, channels_last: bool = False) -> ControlNetModel:
    """Load a base saved by ``save_control``.

    Raises:
        BundleError: If it cannot be read, or weights are missing, unexpected or of another shape.
    """
    with faults_of_folder(folder):
        _check_base(folder)
    return load_network(folder, base_of_config, dtype, channels_last=channels_last, strict=True)
