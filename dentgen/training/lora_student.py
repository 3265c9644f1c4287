"""What recipes of UNet LoRAs share: the frozen networks around the UNet, a UNet with a LoRA, and its weights file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import UNet2DConditionModel
from jaxtyping import Float, Int64
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPTextModel

from dentgen.errors import SpecError
from dentgen.models.control import control_residuals
from dentgen.models.lora import load_lora
from dentgen.models.parts import LORAS, chosen_part, empty_text_encoder, empty_unet
from dentgen.seeding import fresh_weights
from dentgen.spec.train_personal import DreamBoothSpec
from dentgen.spec.train_recipes import TwoFrameSpec
from dentgen.spec.train_students import ControlledSpec, StudentSpec
from dentgen.training.data.rows import Batch
from dentgen.training.frozen_networks import (
    FrozenAutoencoder,
    FrozenText,
    control_tensor,
    freeze,
    frozen_unet,
    image_tensor,
)
from dentgen.training.generated_latents import load_adapted_control
from dentgen.training.noising import Noising
from dentgen.training.preview import predict_noise, sample

WEIGHTS: Final = "pytorch_lora_weights.safetensors"
#: Attention, feed-forward layers and the convolutions of ResNet blocks.
LAYERS: Final = (
    "to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2", "conv1", "conv2",
)  # fmt: skip
#: These, and what an LCM-LoRA changes besides.
ALL_LAYERS: Final = (*LAYERS, "conv_shortcut", "downsamplers.0.conv", "upsamplers.0.conv", "time_emb_proj")

#: Attention of the text encoder.
_TEXT_LAYERS: Final = ("q_proj", "k_proj", "v_proj", "out_proj")
#: Networks and their prefixes in diffusers' layout.
_UNET: Final = "unet"
_TEXT: Final = "text_encoder.text_model"


class ControlledNetworks:
    """The frozen networks around a UNet: autoencoder, text encoder, control net with an adapter; and the draws.

    Attributes:
        autoencoder: Encodes and decodes.
        text: Embeds prompts.
        noising: Draws of the run.
    """

    def __init__(self, spec: ControlledSpec | TwoFrameSpec, device: torch.device) -> None:
        """Load the networks.

        Raises:
            BundleError: If the bundle lacks the spec's adapter.
        """
        self.autoencoder, self.text = FrozenAutoencoder(spec, device), FrozenText(spec, device)
        self.noising = Noising(spec, device)
        self._kind, self._scale = spec.control_image, spec.adapter_scale
        self._control = None
        if spec.adapter is not None:
            self._control = freeze(load_adapted_control(Path(spec.bundle), spec.adapter), device)

    def condition(self, batch: Batch) -> Float[Tensor, "b 4 h w"] | None:
        """Encoded control images of the rows; None without an adapter."""
        return None if self._control is None else self.encoded_controls(batch)

    def encoded_controls(self, batch: Batch) -> Float[Tensor, "b 4 h w"]:
        """Encoded control images of the rows."""
        return self.autoencoder.controls(batch.rows, [self._kind] * len(batch))

    def control_images(self, batch: Batch) -> Float[Tensor, "b 3 H W"]:
        """Control images of the rows in [-1, 1], for previews."""
        return torch.stack([control_tensor(row.control(self._kind)) for row in batch.rows]) * 2 - 1

    @torch.no_grad()
    def residuals(
        self, condition: Float[Tensor, "b 4 h w"] | None, timesteps: Int64[Tensor, " b"], embeds: Tensor
    ) -> list[Tensor] | None:
        """Scaled residuals of the control net, which sees no noisy latents; None without an adapter."""
        if self._control is None or condition is None:
            return None
        return [each * self._scale for each in control_residuals(self._control, condition, timesteps, embeds)]

    @torch.no_grad()
    def preview(
        self, batch: Batch, unet: UNet2DConditionModel, scheduler: Any = None, steps: int = 8, seed: int = 0
    ) -> list[Float[Tensor, "b 3 H W"]]:
        """Image, control image (if there is an adapter), image that a UNet generates with it.

        Args:
            batch: Rows.
            unet: The UNet.
            scheduler: A diffusers scheduler; None: UniPC.
            steps: Number of steps.
            seed: Seed of the noise that a scheduler adds.
        """
        embeds, condition = self.text([row.prompt for row in batch.rows]), self.condition(batch)

        def noise_of(noisy: Tensor, timesteps: Tensor) -> Tensor:
            return predict_noise(unet, noisy, timesteps, embeds, self.residuals(condition, timesteps, embeds))

        size = self.autoencoder.latent_size
        latents = sample(noise_of, self.noising.normal(batch, "preview", (4, size, size)), scheduler, steps, seed)
        shown = [] if condition is None else [self.control_images(batch)]
        return [image_tensor(batch.photos), *shown, self.autoencoder.decode(latents).cpu()]


def lora_unet(
    spec: StudentSpec | TwoFrameSpec | DreamBoothSpec,
    device: torch.device,
    name: str,
    layers: Sequence[str] = ALL_LAYERS,
) -> UNet2DConditionModel:
    """The bundle's UNet with a fresh LoRA, which is all of it that is trained and changes nothing yet.

    Args:
        spec: The run.
        device: Where it is trained.
        name: Names the draw of the fresh weights.
        layers: Ends of the names of the modules that the LoRA changes.
    """
    unet = frozen_unet(spec, device)
    with fresh_weights(spec.seed, "weights", name):
        unet.add_adapter(LoraConfig(r=spec.rank, lora_alpha=spec.rank, target_modules=list(layers)))
    return unet.train()


def add_text_lora(text: CLIPTextModel, spec: DreamBoothSpec) -> CLIPTextModel:
    """Add a fresh LoRA to the attention layers of a frozen text encoder, in place; it changes nothing yet."""
    with fresh_weights(spec.seed, "weights", f"{spec.recipe} text encoder"):
        text.add_adapter(LoraConfig(r=spec.rank, lora_alpha=spec.rank, target_modules=list(_TEXT_LAYERS)))
    return text


@torch.no_grad()
def start_from(unet: UNet2DConditionModel, bundle: Path, name: str) -> None:
    """Copy a LoRA of the bundle into that of a ``lora_unet``; modules that it does not change keep fresh weights.

    Raises:
        BundleError: If the bundle has no such LoRA, or it does not fit.
        SpecError: If it has another rank, or changes modules that the UNet's own LoRA does not.
    """
    folder = chosen_part(bundle, LORAS, name)
    start, own = load_lora(folder, empty_unet(bundle), empty_text_encoder(bundle)), dict(unet.named_parameters())
    others = [module for module in start.unet if f"{module}.lora_A.default.weight" not in own]
    if others := [*others, *start.text_encoder]:
        raise SpecError(file=str(folder), key="start_lora", found=others[0], expected="the layers of a student alone")
    for module, layer in start.unet.items():
        down, up = (own[f"{module}.lora_{half}.default.weight"] for half in ("A", "B"))
        if len(down) != len(layer.down):
            raise SpecError(file=str(folder), key="rank", found=len(down), expected=f"{len(layer.down)}, of start_lora")
        down.copy_(layer.down.view_as(down))
        up.copy_((layer.up * layer.scale).view_as(up))


def write_lora(
    unet: UNet2DConditionModel, bundle: Path, name: str, header: Mapping[str, str], text: CLIPTextModel | None = None
) -> None:
    """Write the LoRA of a ``lora_unet`` in diffusers' layout, weights in fp16.

    Args:
        unet: The UNet.
        bundle: Folder of the bundle.
        name: Name of the LoRA in it.
        header: Texts in the header of the file.
        text: A text encoder with a LoRA; None: it has none.
    """
    folder = bundle / LORAS / name
    folder.mkdir(parents=True, exist_ok=True)
    tensors = _layers(_UNET, unet) | ({} if text is None else _layers(_TEXT, text))
    save_file(tensors, folder / WEIGHTS, metadata={**header, "format": "pt"})


def _layers(prefix: str, net: UNet2DConditionModel | CLIPTextModel) -> dict[str, Tensor]:
    layers = sorted(get_peft_model_state_dict(net).items())
    return {f"{prefix}.{name}": value.detach().half().cpu().contiguous() for name, value in layers}
