"""Recipes ``base`` and ``adapter``: the miniature's diffusion model.

``base`` trains text encoder, UNet and the ctrLoRA base together, each row under one single condition (segmentation,
lighting or normal) or none. ``adapter`` freezes all of it and trains a LoRA for the blended condition, teeth weighted.
Refuses to know samplers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import torch
from diffusers import AutoencoderKL, ControlNetModel, DDPMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from tqdm import tqdm
from transformers import CLIPTextModel, CLIPTokenizer

from dentgen.conditions.labels import TOOTH
from dentgen.models.bundle import find_bundle
from dentgen.models.control import (
    add_adapter,
    control_from_unet,
    control_residuals,
    load_control,
    save_adapter,
    save_control,
)
from dentgen.seeding import derive_seed, fresh_weights, numpy_generator
from dentgen.training.autoencoder import control_tensor, image_tensor
from dentgen.training.data import SINGLE_KINDS, TrainingSet, drop_words
from dentgen.training.losses import noise_loss, snr_weights, tooth_weights
from dentgen.training.miniature import (
    SCHEDULER_CONFIG,
    extended_text_encoder,
    new_text_encoder,
    new_tokenizer,
    new_unet,
    write_scheduler,
)
from dentgen.training.spec import TrainSpec

_PROMPT_DROP: Final = 0.1
_CONTROL_DROP: Final = 0.1
_TEETH_ONLY: Final = 0.2


class LatentSet:
    """Latents of pictures and control images, computed once, with noising and prompt batches."""

    def __init__(self, spec: TrainSpec, data: TrainingSet, kinds: tuple[str, ...]) -> None:
        """Encode the training set with the bundle's autoencoder."""
        self.spec, self.data, self.kinds = spec, data, kinds
        vae: AutoencoderKL = AutoencoderKL.from_pretrained(
            spec.bundle, subfolder="vae", torch_dtype=torch.float32, use_safetensors=True
        )
        self._scale = vae.config["scaling_factor"]
        self.photos = self._encode(vae, data.photos, "pictures", control=False)
        self.controls = {kind: self._encode(vae, data.controls[kind], kind, control=True) for kind in kinds}
        self.alphas_cumprod = DDPMScheduler.from_config(SCHEDULER_CONFIG).alphas_cumprod

    @torch.no_grad()
    def _encode(self, vae: AutoencoderKL, images: np.ndarray, name: str, *, control: bool) -> Tensor:
        to_tensor = control_tensor if control else image_tensor
        latents = [
            vae.encode(to_tensor(images[i : i + 16].copy())).latent_dist.mode() * self._scale
            for i in tqdm(range(0, len(images), 16), desc=f"latents of {name}", mininterval=10)
        ]
        return torch.cat(latents)

    def noised(self, step: int) -> tuple[np.ndarray, Tensor, Tensor, Tensor, np.random.Generator]:
        """Indices, noisy latents, noise and timesteps of one batch, and the step's generator."""
        rng = numpy_generator(self.spec.seed, self.spec.recipe, "batch", step)
        index = rng.integers(len(self.data), size=self.spec.batch)
        timesteps = torch.from_numpy(rng.integers(1000, size=self.spec.batch))
        generator = torch.Generator().manual_seed(derive_seed(self.spec.seed, self.spec.recipe, "noise", step))
        clean = self.photos[index]
        noise = torch.randn(clean.shape, generator=generator)
        abar = self.alphas_cumprod[timesteps][:, None, None, None]
        return index, abar.sqrt() * clean + (1 - abar).sqrt() * noise, noise, timesteps, rng

    def prompts(self, index: np.ndarray, rng: np.random.Generator) -> list[str]:
        """Prompts with words and whole prompts left out at random."""
        return ["" if rng.random() < _PROMPT_DROP else drop_words(self.data.prompts[i], rng) for i in index]


def token_ids(tokenizer: CLIPTokenizer, prompts: list[str]) -> Tensor:
    """(b, 77) ids, padded."""
    return tokenizer(prompts, padding="max_length", truncation=True, return_tensors="pt").input_ids


class BaseRecipe:
    """Trains text encoder, UNet and control base of the bundle."""

    def __init__(self, spec: TrainSpec, data: TrainingSet) -> None:
        """Start from another bundle's weights, or from fresh ones drawn from the spec's seed.

        The autoencoder is the bundle's own. Words that came up since then join the vocabulary of that other bundle.
        """
        self._spec = spec
        self._latents = LatentSet(spec, data, SINGLE_KINDS)
        self._tokenizer = new_tokenizer()
        with fresh_weights(spec.seed, "weights", "base"):
            self._text = new_text_encoder(self._tokenizer)
            self._unet = new_unet(spec.size)
            self._control = control_from_unet(self._unet)
        if spec.start:
            start = find_bundle(spec.start)
            before = CLIPTokenizer.from_pretrained(start / "tokenizer")
            text = CLIPTextModel.from_pretrained(start / "text_encoder", dtype=torch.float32, use_safetensors=True)
            self._tokenizer = new_tokenizer(before)
            self._text = extended_text_encoder(text, self._tokenizer, before)
            self._unet.load_state_dict(UNet2DConditionModel.from_pretrained(start, subfolder="unet").state_dict())
            self._control.load_state_dict(load_control(start / "controlnet", torch.float32).state_dict())
        self.trained = nn.ModuleDict({"text": self._text, "unet": self._unet, "control": self._control}).train()

    def loss(self, step: int) -> dict[str, Tensor]:
        """Noise loss of one batch, min-SNR weighted."""
        index, noisy, noise, timesteps, rng = self._latents.noised(step)
        embeds = self._text(token_ids(self._tokenizer, self._latents.prompts(index, rng)))[0]
        kinds = rng.integers(len(self._latents.kinds), size=len(index))
        condition = torch.stack(
            [self._latents.controls[self._latents.kinds[k]][i] for k, i in zip(kinds, index, strict=True)]
        )
        residuals = control_residuals(self._control, condition, timesteps, embeds)
        shown = torch.from_numpy(rng.random(len(index)) > _CONTROL_DROP).float()[:, None, None, None]
        *down, middle = (residual * shown for residual in residuals)
        pred = self._unet(
            noisy, timesteps, embeds, down_block_additional_residuals=down, mid_block_additional_residual=middle
        ).sample
        plain = (pred - noise).square().mean().detach()
        weights = snr_weights(self._latents.alphas_cumprod, timesteps)
        return {"loss": noise_loss(pred, noise, weights), "mse": plain}

    def export(self) -> None:
        """Write tokenizer, text encoder, UNet, control base and scheduler, weights in fp16."""
        bundle = Path(self._spec.bundle)
        self._tokenizer.save_pretrained(bundle / "tokenizer")
        self._text.eval().half().save_pretrained(bundle / "text_encoder")
        self._unet.eval().half().save_pretrained(bundle / "unet")
        save_control(self._control, bundle / "controlnet")
        write_scheduler(bundle / "scheduler")


class AdapterRecipe:
    """Trains one adapter of the bundle's control base; text encoder, UNet and base stay as they are."""

    def __init__(self, spec: TrainSpec, data: TrainingSet) -> None:
        """Load the frozen parts and put a fresh adapter on a copy of the base."""
        self._spec = spec
        self._latents = LatentSet(spec, data, ("blended", "blended-teeth"))
        bundle = Path(spec.bundle)
        self._tokenizer = CLIPTokenizer.from_pretrained(bundle / "tokenizer")
        self._text: CLIPTextModel = CLIPTextModel.from_pretrained(
            bundle / "text_encoder", dtype=torch.float32, use_safetensors=True
        )
        self._unet: UNet2DConditionModel = UNet2DConditionModel.from_pretrained(
            bundle / "unet", torch_dtype=torch.float32, use_safetensors=True
        )
        for frozen in (self._text, self._unet):
            frozen.requires_grad_(False)
        base: ControlNetModel = load_control(bundle / "controlnet", torch.float32)
        with fresh_weights(spec.seed, "weights", spec.adapter):
            self._adapted = add_adapter(base, spec.rank)
        self.trained = nn.ModuleDict({"adapter": self._adapted})

    def loss(self, step: int) -> dict[str, Tensor]:
        """Noise loss of one batch, teeth weighted, each sample's weights of mean 1."""
        index, noisy, noise, timesteps, rng = self._latents.noised(step)
        with torch.no_grad():
            embeds = self._text(token_ids(self._tokenizer, self._latents.prompts(index, rng)))[0]
        teeth_only = rng.random(len(index)) < _TEETH_ONLY
        condition = torch.stack(
            [
                self._latents.controls["blended-teeth" if bare else "blended"][i]
                for bare, i in zip(teeth_only, index, strict=True)
            ]
        )
        *down, middle = control_residuals(self._adapted, condition, timesteps, embeds)
        pred = self._unet(
            noisy, timesteps, embeds, down_block_additional_residuals=down, mid_block_additional_residual=middle
        ).sample
        seg = torch.from_numpy(self._latents.data.seg[index].copy())
        weights = tooth_weights(seg, TOOTH, self._spec.tooth_weight, noisy.shape[-1])
        rows = snr_weights(self._latents.alphas_cumprod, timesteps)
        return {"loss": noise_loss(pred, noise, rows, weights), "mse": (pred - noise).square().mean().detach()}

    def export(self) -> None:
        """Write the adapter in peft's layout."""
        save_adapter(self._adapted, Path(self._spec.bundle) / "adapters" / self._spec.adapter)
