"""Recipes ``text-to-image`` and ``base``: text encoder and UNet, alone or together with a ctrLoRA base.

``base`` is for models small enough to be trained from scratch; each row is controlled by one task or by none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from jaxtyping import Float
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from dentgen.models.bundle import MINIATURE, find_bundle
from dentgen.models.control import control_from_unet, control_residuals, load_control, save_control
from dentgen.models.parts import load_text_encoder, load_tokenizer, load_unet
from dentgen.seeding import fresh_weights
from dentgen.spec.train_recipes import BaseSpec, TextToImageSpec
from dentgen.spec.train_sections import ControlKind
from dentgen.training.data.rows import Batch
from dentgen.training.export import save_network, save_tokenizer
from dentgen.training.frozen_networks import FrozenAutoencoder, token_ids
from dentgen.training.miniature import extended_text_encoder, new_text_encoder, new_tokenizer, new_unet, write_scheduler
from dentgen.training.noising import Noising
from dentgen.training.preview import predict_noise, sampled_preview
from dentgen.training.recipes.recipe import Recipe

#: Share of rows without control.
_CONTROL_DROP: Final = 0.1


class TextToImageRecipe(Recipe):
    """Trains text encoder, UNet and, in the recipe ``base``, the control base of the bundle.

    The autoencoder is the bundle's own. When starting from the miniature, words that phantoms have gained since are
    added to its vocabulary. Training goes on at the spec's image size, whichever the start had.
    """

    def __init__(self, spec: TextToImageSpec | BaseSpec, device: torch.device) -> None:
        """Start from another bundle's weights, or from fresh ones."""
        super().__init__()
        self._tasks: tuple[ControlKind, ...] = spec.tasks if isinstance(spec, BaseSpec) else ()
        self._spec, self._device = spec, device
        self._autoencoder, self._noising = FrozenAutoencoder(spec, device), Noising(spec, device)
        self._tokenizer, text, unet, control = _load(spec.start) if spec.start else _fresh(spec)
        unet.register_to_config(sample_size=self._autoencoder.latent_size)
        self.text, self.unet = nn.Module.to(text.train(), device), nn.Module.to(unet.train(), device)
        self.control = nn.Module.to(control.train(), device) if self._tasks else None

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Noise loss of one batch, each row under one task or none."""
        noised = self._noising.noised(batch, self._autoencoder.pictures(batch))
        embeds = self._embedded(self._noising.prompts(batch))
        residuals = None
        if self.control is not None:
            generators = self._noising.generators(batch, "task")
            kinds = [self._tasks[rng.integers(len(self._tasks))] for rng in generators]
            condition = self._autoencoder.controls(batch.rows, kinds)
            controlled = torch.tensor([rng.random() > _CONTROL_DROP for rng in generators], device=self._device)
            residuals = control_residuals(self.control, condition, noised.timesteps, embeds)
            residuals = [residual * controlled[:, None, None, None] for residual in residuals]
        noise_pred = predict_noise(self.unet, noised.latents, noised.timesteps, embeds, residuals)
        return self._noising.loss(batch, noised, noise_pred, self._spec.loss)

    def export(self) -> None:
        """Write tokenizer, text encoder, UNet, scheduler and control base, weights in fp16."""
        bundle = Path(self._spec.bundle)
        save_tokenizer(self._tokenizer, bundle / "tokenizer")
        save_network(self.text, bundle / "text_encoder")
        save_network(self.unet, bundle / "unet")
        if self.control is not None:
            save_control(self.control, bundle / "controlnet")
        write_scheduler(bundle / "scheduler")

    def preview(self, batch: Batch) -> list[Float[Tensor, "b 3 H W"]]:
        """Image, control image of the first task (if there are tasks), generated image."""
        kind = self._tasks[0] if self._tasks else None
        prompts = [row.prompt for row in batch.rows]
        return sampled_preview(
            batch, kind, self._autoencoder, self._noising, self.unet, self._embedded(prompts), self.control
        )

    def _embedded(self, prompts: list[str]) -> Tensor:
        embeds: Tensor = self.text(token_ids(self._tokenizer, prompts).to(self._device))[0]
        return embeds


_Nets = tuple[CLIPTokenizer, CLIPTextModel, UNet2DConditionModel, ControlNetModel]


def _fresh(spec: TextToImageSpec | BaseSpec) -> _Nets:
    tokenizer = new_tokenizer()
    with fresh_weights(spec.seed, "weights", "base"):
        text, unet = new_text_encoder(tokenizer), new_unet(spec.conditions.size)
        return tokenizer, text, unet, control_from_unet(unet)


def _load(bundle: str) -> _Nets:
    """Networks of another bundle; a missing control base begins as a copy of the UNet's encoder."""
    start = find_bundle(bundle)
    before, text = load_tokenizer(start / "tokenizer"), load_text_encoder(start / "text_encoder", torch.float32)
    unet = load_unet(start / "unet", torch.float32)
    has_control = (start / "controlnet").is_dir()
    control = load_control(start / "controlnet", torch.float32) if has_control else control_from_unet(unet)
    if bundle != MINIATURE:
        return before, text, unet, control
    tokenizer = new_tokenizer(before)
    return tokenizer, extended_text_encoder(text, tokenizer, before), unet, control
