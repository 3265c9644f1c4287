"""Recipes ``adapter`` and ``control-base``: ctrLoRA, whose control net is shown the condition's latent and no picture.

An adapter trains a LoRA, zero convolutions and attention norms on a frozen base for one condition, and a base trains
all its weights on many, one task a batch, each task with a LoRA of its own (Xu et al. 2024,
https://arxiv.org/abs/2410.09400). Refuses to know samplers.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch
from diffusers import ControlNetModel
from jaxtyping import Float
from peft import PeftModel, get_peft_model
from torch import Tensor, nn

from dentgen.models.bundle import find_bundle
from dentgen.models.control import (
    NoHint,
    adapter_config,
    add_adapter,
    control_from_unet,
    control_residuals,
    load_control,
    save_adapter,
    save_control,
)
from dentgen.models.parts import ADAPTERS, CONTROLNET
from dentgen.seeding import fresh_weights
from dentgen.spec.train import ControlKind, TrainSpec
from dentgen.training.data.rows import Batch
from dentgen.training.frozen_networks import FrozenAutoencoder, FrozenText, frozen_unet
from dentgen.training.noising import Noising
from dentgen.training.preview import predicted, sampled_preview
from dentgen.training.recipes.recipe import Recipe


class _ControlRecipe(Recipe):
    """What both have in common: a control net beside frozen text encoder and UNet."""

    def __init__(self, spec: TrainSpec, device: torch.device) -> None:
        super().__init__()
        self._spec, self._device = spec, device
        self._autoencoder, self._noising = FrozenAutoencoder(spec, device), Noising(spec, device)
        self._text, self._frozen = FrozenText(spec, device), (frozen_unet(spec, device),)

    def _losses(self, control: nn.Module, batch: Batch, kinds: list[ControlKind]) -> dict[str, Tensor]:
        noised = self._noising.noised(batch, self._autoencoder.pictures(batch))
        embeds = self._text(self._noising.prompts(batch))
        condition = self._autoencoder.controls(batch.rows, kinds)
        residuals = control_residuals(control, condition, noised.timesteps, embeds)
        (unet,) = self._frozen
        return self._noising.loss(batch, noised, predicted(unet, noised.latents, noised.timesteps, embeds, residuals))

    def _preview(self, control: nn.Module, batch: Batch, kind: ControlKind) -> list[Tensor]:
        embeds = self._text([row.prompt for row in batch.rows])
        return sampled_preview(batch, kind, self._autoencoder, self._noising, self._frozen[0], embeds, control)


class AdapterRecipe(_ControlRecipe):
    """Trains ``bundle/adapters/NAME``; text encoder, UNet and base stay as they are."""

    def __init__(self, spec: TrainSpec, device: torch.device) -> None:
        """Put a fresh adapter on a copy of the base."""
        super().__init__(spec, device)
        base = load_control(Path(spec.bundle) / CONTROLNET, torch.float32)
        with fresh_weights(spec.seed, "weights", spec.part):
            self.adapted: PeftModel = nn.Module.to(add_adapter(base, spec.rank), device)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Noise loss of one batch, pixels weighted as the spec says."""
        drawn = self._noising.generators(batch, "bare teeth")
        return self._losses(self.adapted, batch, [self._shown(rng.random()) for rng in drawn])

    def export(self) -> None:
        """Write the adapter in peft's layout."""
        save_adapter(self.adapted, Path(self._spec.bundle) / ADAPTERS / self._spec.part)

    def preview(self, batch: Batch) -> list[Float[Tensor, "b 3 H W"]]:
        """Picture, control image, generated picture."""
        return self._preview(self.adapted, batch, self._spec.condition)

    def _shown(self, drawn: float) -> ControlKind:
        bare = self._spec.condition == "blended" and drawn < self._spec.bare_teeth
        return "blended-teeth" if bare else self._spec.condition


class ControlBaseRecipe(_ControlRecipe):
    """Trains ``bundle/controlnet``, and an adapter for every condition that it was trained on."""

    some_unused = True  # the LoRAs of the other tasks

    def __init__(self, spec: TrainSpec, device: torch.device) -> None:
        """Start from another bundle's base, or from a copy of the UNet's encoder."""
        super().__init__(spec, device)
        config = adapter_config([], spec.rank)
        first, *others = spec.conditions
        with fresh_weights(spec.seed, "weights", "control-base"):
            self.tasks = get_peft_model(_started(spec, self._frozen[0]), config, adapter_name=first)
            for task in others:
                self.tasks.add_adapter(task, config)
        nn.Module.to(self.tasks.requires_grad_(True), device)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Noise loss of one batch of one task; tasks take turns."""
        task = self._spec.conditions[batch.step % len(self._spec.conditions)]
        self._switch(task)
        return self._losses(self.tasks, batch, [task] * len(batch))

    def export(self) -> None:
        """Write the base, and each task's LoRA with the base's zero convolutions and norms as an adapter."""
        bundle = Path(self._spec.bundle)
        base = self._base()
        save_control(base, bundle / CONTROLNET)
        for task in self._spec.conditions:
            adapted = add_adapter(base, self._spec.rank)
            adapted.load_state_dict(adapted.state_dict() | self._lora(task))
            save_adapter(adapted, bundle / ADAPTERS / task)

    def preview(self, batch: Batch) -> list[Float[Tensor, "b 3 H W"]]:
        """Picture, control image, generated picture, for the first condition."""
        self._switch(self._spec.conditions[0])
        return self._preview(self.tasks, batch, self._spec.conditions[0])

    def _switch(self, task: ControlKind) -> None:
        self.tasks.set_adapter(task)
        self.tasks.requires_grad_(True)  # peft freezes what is not active

    def _lora(self, task: ControlKind) -> dict[str, Tensor]:
        """A task's LoRA, named as an adapter's that is the only one."""
        own = re.compile(rf"(?<=\.lora_[AB]\.){task}(?=\.)")
        return {own.sub("default", name): v for name, v in self.tasks.state_dict().items() if own.search(name)}

    def _base(self) -> ControlNetModel:
        """The control net without any LoRA, a copy."""
        net = _empty_like(self.tasks.get_base_model())
        state = {
            name.replace(".base_layer.", "."): value.detach().cpu()
            for name, value in self.tasks.get_base_model().state_dict().items()
            if ".lora_" not in name
        }
        net.load_state_dict(state)
        return net


def _started(spec: TrainSpec, unet: nn.Module) -> ControlNetModel:
    if spec.start:
        return load_control(find_bundle(spec.start) / CONTROLNET, torch.float32)
    return control_from_unet(unet)


def _empty_like(control: nn.Module) -> ControlNetModel:
    net: ControlNetModel = ControlNetModel.from_config(control.config)
    net.controlnet_cond_embedding = NoHint()
    return net
