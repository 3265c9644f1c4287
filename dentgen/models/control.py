"""ctrLoRA control nets: a ControlNet whose input is the condition's latent, never the noisy one.

The base net is diffusers' ``ControlNetModel`` without its pixel hint; an adapter is a peft LoRA on its linear layers
plus own zero convolutions and attention norms (Xu et al. 2024, https://arxiv.org/abs/2410.09400). Merging an adapter
gives a plain control net again. Refuses to know pipelines and schedules.
"""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Final

import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from dentgen.errors import BundleError

LORA_TARGETS: Final = (
    "to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "time_emb_proj", "linear_1", "linear_2",
)  # fmt: skip
#: Trained whole beside the LoRA: zero convolutions and the transformers' own norms. ResNet norms stay frozen, as in the
#: original, where they go by another name.
_SAVED_WHOLE: Final = re.compile(
    r"^(controlnet_down_blocks\.\d+|controlnet_mid_block|.*transformer_blocks\.\d+\.norm\d|.*attentions\.\d+\.norm)$"
)
WEIGHTS: Final = "diffusion_pytorch_model.safetensors"


class NoHint(nn.Module):
    """Stands where a ControlNet embeds its pixel hint: ctrLoRA has none."""

    def forward(self, hint: Tensor) -> Tensor:
        """Return the hint, which callers pass as a zero that broadcasts."""
        return hint


def control_from_unet(unet: UNet2DConditionModel) -> ControlNetModel:
    """A fresh base: the UNet's encoder with zero convolutions."""
    control: ControlNetModel = ControlNetModel.from_unet(unet)
    control.controlnet_cond_embedding = NoHint()
    return control


def control_residuals(
    control: nn.Module, condition_latents: Tensor, timesteps: Tensor, prompt_embeds: Tensor
) -> list[Tensor]:
    """Residuals of the control net, the middle block's last.

    Args:
        control: A control net without hint, with or without adapter.
        condition_latents: (b, 4, h, w), scaled latents of control images in [0, 1].
        timesteps: (b,) training timesteps.
        prompt_embeds: (b, tokens, width).
    """
    zero = condition_latents.new_zeros(1)
    down, middle = control(condition_latents, timesteps, prompt_embeds, controlnet_cond=zero, return_dict=False)
    return [*down, middle]


def save_control(control: ControlNetModel, folder: Path) -> None:
    """Write config and weights (fp16) in diffusers' layout."""
    folder.mkdir(parents=True, exist_ok=True)
    control.save_config(folder)
    state = {name: value.detach().half().contiguous() for name, value in control.state_dict().items()}
    save_file(state, folder / WEIGHTS, metadata={"format": "pt"})


def load_control(folder: Path, dtype: torch.dtype) -> ControlNetModel:
    """Read a base written by ``save_control``.

    Raises:
        BundleError: If weights are missing, unexpected or of another shape.
    """
    config = ControlNetModel.load_config(folder)
    control: ControlNetModel = ControlNetModel.from_config(config)
    control.controlnet_cond_embedding = NoHint()
    try:
        control.load_state_dict(load_file(folder / WEIGHTS))
    except (RuntimeError, FileNotFoundError) as error:
        raise BundleError(f"{folder}: {error}") from error
    return _cast(control, dtype)


def add_adapter(control: ControlNetModel, rank: int) -> PeftModel:
    """A copy of the base with a fresh trainable adapter; the base itself is left alone.

    ``PeftModel`` switches norms and zero convolutions together with the LoRA, which diffusers' own ``add_adapter``
    does not.
    """
    whole = [name for name, _ in control.named_modules() if _SAVED_WHOLE.match(name)]
    config = LoraConfig(
        r=rank,
        lora_alpha=rank,
        init_lora_weights="gaussian",
        target_modules=list(LORA_TARGETS),
        modules_to_save=whole,
    )
    return get_peft_model(copy.deepcopy(control), config)


def save_adapter(adapted: PeftModel, folder: Path) -> None:
    """Write an adapter in peft's layout, weights in fp16."""
    adapted = copy.deepcopy(adapted).half()
    adapted.save_pretrained(str(folder))


def merge_adapter(control: ControlNetModel, folder: Path) -> ControlNetModel:
    """A copy of the base with the adapter of ``folder`` merged in.

    Raises:
        BundleError: If the folder holds no safetensors adapter, or one for another net.
    """
    if not (folder / "adapter_model.safetensors").is_file():
        raise BundleError(f"{folder}: found no adapter_model.safetensors, expected an adapter saved by peft")
    try:
        adapted = PeftModel.from_pretrained(copy.deepcopy(control), str(folder))
    except (RuntimeError, ValueError, KeyError) as error:
        raise BundleError(f"{folder}: the adapter does not fit the control net: {error}") from error
    merged: ControlNetModel = adapted.merge_and_unload()
    return _cast(merged, control.dtype)


def _cast(control: ControlNetModel, dtype: torch.dtype) -> ControlNetModel:
    nn.Module.to(control, dtype)  # diffusers' own ``to`` warns about a list of modules that is empty here
    return control.eval()
