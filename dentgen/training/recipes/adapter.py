"""Recipes ``adapter`` and ``control-base``: ctrLoRA, whose control net sees the latent of the control image only.

An adapter trains a LoRA, zero convolutions and attention norms on a frozen base for one control image; a base trains
all its weights on several tasks, one per batch, each with its own LoRA (Xu et al. 2024,
https://arxiv.org/abs/2410.09400).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from jaxtyping import Float
from peft import PeftModel, get_peft_model
from torch import Tensor, nn

from dentgen.models.adapter import adapter_config, add_adapter, save_adapter
from dentgen.models.bundle import find_bundle
from dentgen.models.control import NoHint, control_from_unet, control_residuals, load_control, save_control
from dentgen.models.parts import ADAPTERS, CONTROLNET
from dentgen.seeding import fresh_weights
from dentgen.spec.train_recipes import AdapterSpec, ControlBaseSpec
from dentgen.spec.train_reward import RewardSpec
from dentgen.spec.train_sections import ControlKind
from dentgen.training.data.rows import Batch
from dentgen.training.frozen_networks import FrozenAutoencoder, FrozenText, Unregistered, frozen_unet
from dentgen.training.noising import Noised, Noising
from dentgen.training.preview import predict_noise, sampled_preview
from dentgen.training.recipes.recipe import Recipe


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What a controlled UNet made of a batch.

    Attributes:
        clean: (b, 4, h, w) latents of the pictures.
        noised: The same with noise.
        embeds: (b, tokens, width) embedded prompts.
        residuals: Of the control net, (b, ...) each.
        noise_pred: (b, 4, h, w).
    """

    clean: Tensor
    noised: Noised
    embeds: Tensor
    residuals: list[Tensor]
    noise_pred: Tensor


class ControlRecipe(Recipe):
    """A trained control net on a frozen autoencoder, text encoder and UNet."""

    def __init__(self, spec: AdapterSpec | ControlBaseSpec | RewardSpec, device: torch.device) -> None:
        """Load the frozen networks."""
        super().__init__()
        self._loss_spec, self._device = spec.loss, device
        self._autoencoder, self._noising = FrozenAutoencoder(spec, device), Noising(spec, device)
        self._text = FrozenText(spec, device)
        self._unet: Unregistered[UNet2DConditionModel] = Unregistered(frozen_unet(spec, device))

    def _losses(self, control: nn.Module, batch: Batch, kinds: list[ControlKind]) -> dict[str, Tensor]:
        found = self._predict(control, batch, kinds)
        return self._noising.loss(batch, found.noised, found.noise_pred, self._loss_spec)

    def _predict(
        self, control: nn.Module, batch: Batch, kinds: list[ControlKind], timesteps: Tensor | None = None
    ) -> Prediction:
        """Noise the pictures, at given timesteps or at uniform ones, and predict the noise."""
        clean = self._autoencoder.pictures(batch)
        noised = self._noising.noised(batch, clean, timesteps)
        embeds = self._text(self._noising.prompts(batch))
        condition = self._autoencoder.controls(batch.rows, kinds)
        residuals = control_residuals(control, condition, noised.timesteps, embeds)
        noise_pred = predict_noise(self._unet.net, noised.latents, noised.timesteps, embeds, residuals)
        return Prediction(clean, noised, embeds, residuals, noise_pred)

    def _preview(self, control: nn.Module, batch: Batch, kind: ControlKind) -> list[Tensor]:
        embeds = self._text([row.prompt for row in batch.rows])
        return sampled_preview(batch, kind, self._autoencoder, self._noising, self._unet.net, embeds, control)


class AdapterRecipe(ControlRecipe):
    """Trains ``bundle/adapters/NAME``; text encoder, UNet and base are frozen."""

    def __init__(self, spec: AdapterSpec, device: torch.device) -> None:
        """Add a fresh adapter to a copy of the base."""
        super().__init__(spec, device)
        self._spec = spec
        base = load_control(Path(spec.bundle) / CONTROLNET, torch.float32)
        with fresh_weights(spec.seed, "weights", spec.part):
            self.adapted: PeftModel = nn.Module.to(add_adapter(base, spec.rank), device)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Noise loss of one batch, some blended rows with light on teeth only."""
        generators = self._noising.generators(batch, "bare teeth")
        kinds = [shown_kind(self._spec.control_image, self._spec.bare_teeth, rng.random()) for rng in generators]
        return self._losses(self.adapted, batch, kinds)

    def export(self) -> None:
        """Write the adapter in peft's layout, weights in fp16."""
        save_adapter(self.adapted, Path(self._spec.bundle) / ADAPTERS / self._spec.part)

    def preview(self, batch: Batch) -> list[Float[Tensor, "b 3 H W"]]:
        """Image, control image, generated image."""
        return self._preview(self.adapted, batch, self._spec.control_image)


class ControlBaseRecipe(ControlRecipe):
    """Trains ``bundle/controlnet`` and an adapter for every task."""

    def __init__(self, spec: ControlBaseSpec, device: torch.device) -> None:
        """Start from another bundle's base, or from a copy of the UNet's encoder."""
        super().__init__(spec, device)
        self._spec, self.cycle = spec, len(spec.tasks)
        config = adapter_config([], spec.rank)
        first, *others = spec.tasks
        with fresh_weights(spec.seed, "weights", "control-base"):
            self.tasks = get_peft_model(_start(spec, self._unet.net), config, adapter_name=first)
            for task in others:
                self.tasks.add_adapter(task, config)
        nn.Module.to(self.tasks.requires_grad_(True), device)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Noise loss of one batch of one task; tasks take turns."""
        task = self._spec.tasks[batch.step % len(self._spec.tasks)]
        self._switch(task)
        return self._losses(self.tasks, batch, [task] * len(batch))

    def export(self) -> None:
        """Write the base and, as an adapter, each task's LoRA with the base's zero convolutions and norms."""
        bundle = Path(self._spec.bundle)
        base = self._base()
        save_control(base, bundle / CONTROLNET)
        for task in self._spec.tasks:
            adapted = add_adapter(base, self._spec.rank)
            adapted.load_state_dict(adapted.state_dict() | self._lora(task))
            save_adapter(adapted, bundle / ADAPTERS / task)

    def preview(self, batch: Batch) -> list[Float[Tensor, "b 3 H W"]]:
        """Image, control image, generated image, for the first task."""
        self._switch(self._spec.tasks[0])
        return self._preview(self.tasks, batch, self._spec.tasks[0])

    def _switch(self, task: ControlKind) -> None:
        self.tasks.set_adapter(task)
        self.tasks.requires_grad_(True)  # peft freezes inactive adapters

    def _lora(self, task: ControlKind) -> dict[str, Tensor]:
        """A task's LoRA under the names of a single adapter."""
        own = re.compile(rf"(?<=\.lora_[AB]\.){task}(?=\.)")
        return {own.sub("default", name): v for name, v in self.tasks.state_dict().items() if own.search(name)}

    def _base(self) -> ControlNetModel:
        """A copy of the control net without LoRAs."""
        net = _empty_like(self.tasks.get_base_model())
        state = {
            name.replace(".base_layer.", "."): value.detach().cpu()
            for name, value in self.tasks.get_base_model().state_dict().items()
            if ".lora_" not in name
        }
        net.load_state_dict(state)
        return net


def shown_kind(control_image: ControlKind, bare_teeth: float, draw: float) -> ControlKind:
    """A row's control image, from a uniform draw of 0..1: a share of blended ones shows light on teeth only."""
    return "blended-teeth" if control_image == "blended" and draw < bare_teeth else control_image


def _start(spec: ControlBaseSpec, unet: UNet2DConditionModel) -> ControlNetModel:
    if spec.start:
        return load_control(find_bundle(spec.start) / CONTROLNET, torch.float32)
    return control_from_unet(unet)


def _empty_like(control: nn.Module) -> ControlNetModel:
    net: ControlNetModel = ControlNetModel.from_config(control.config)
    net.controlnet_cond_embedding = NoHint()
    return net
