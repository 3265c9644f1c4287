"""Frozen networks that a recipe learns beside: autoencoder, text encoder, UNet, control base of the bundle.

They are kept out of the recipe's own modules, so that neither optimiser nor workers' synchronisation sees them. Refuses
to know losses.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from dentgen.errors import SpecError
from dentgen.models.autoencoder import downscale_of
from dentgen.models.parts import load_text_encoder, load_tokenizer, load_unet, load_vae
from dentgen.spec.train import ControlKind, TrainSpec
from dentgen.training.data.order import Place
from dentgen.training.data.rows import Batch, TrainingRow


def frozen(net: nn.Module, device: torch.device) -> nn.Module:
    """The net on its device, for inference only."""
    nn.Module.to(net, device)  # diffusers' own ``to`` warns about a list of modules that is empty here
    return net.eval().requires_grad_(False)


class FrozenAutoencoder:
    """Latents of pictures and control images, encoded once each where the spec says so.

    What is kept was encoded alone, so that it depends neither on its neighbours nor on the number of workers.
    """

    def __init__(self, spec: TrainSpec, device: torch.device) -> None:
        """Load the bundle's autoencoder."""
        self.vae: AutoencoderKL = load_vae(Path(spec.bundle) / "vae", torch.float32)
        frozen(self.vae, device)
        self.scale = float(self.vae.config["scaling_factor"])
        self.latent_size = spec.size // downscale_of(self.vae)
        self._kept: dict[tuple[Place, str], Tensor] | None = {} if spec.cache_latents else None
        self._device = device

    def pictures(self, batch: Batch) -> Float[Tensor, "b 4 h w"]:
        """Scaled latents of the rows' pictures, at the posterior's mode."""
        images = [partial(image_tensor, row.photo) for row in batch.rows]
        return self._latents([(row.place, "picture") for row in batch.rows], images)

    def controls(self, rows: Sequence[TrainingRow], kinds: Sequence[ControlKind]) -> Float[Tensor, "b 4 h w"]:
        """Scaled latents of one control image per row, taken as [0, 1], which is ctrLoRA's range for conditions."""
        images = [partial(_control_image, row, kind) for row, kind in zip(rows, kinds, strict=True)]
        return self._latents([(row.place, kind) for row, kind in zip(rows, kinds, strict=True)], images)

    @torch.no_grad()
    def decode(self, latents: Float[Tensor, "b 4 h w"]) -> Float[Tensor, "b 3 H W"]:
        """Pictures of scaled latents."""
        pictures: Tensor = self.vae.decode(latents / self.scale).sample
        return pictures

    def _latents(self, names: Sequence[tuple[Place, str]], images: Sequence[Callable[[], Tensor]]) -> Tensor:
        if self._kept is None:
            return self._encoded(torch.stack([image() for image in images]))
        for name, image in zip(names, images, strict=True):
            if name not in self._kept:
                self._kept[name] = self._encoded(image()[None])[0].float().cpu()
        return torch.stack([self._kept[name] for name in names]).to(self._device)

    @torch.no_grad()
    def _encoded(self, images: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b 4 h w"]:
        latents: Tensor = self.vae.encode(images.to(self._device)).latent_dist.mode() * self.scale
        return latents


class FrozenText:
    """Prompts to embeddings, with the bundle's text encoder as it is."""

    def __init__(self, spec: TrainSpec, device: torch.device) -> None:
        """Load tokenizer and text encoder."""
        bundle = Path(spec.bundle)
        self._tokenizer = load_tokenizer(bundle / "tokenizer")
        self._text: CLIPTextModel = load_text_encoder(bundle / "text_encoder", torch.float32)
        frozen(self._text, device)
        self._device = device

    @torch.no_grad()
    def __call__(self, prompts: Sequence[str]) -> Float[Tensor, "b tokens width"]:
        """Embeddings of prompts, cut after one window."""
        embeds: Tensor = self._text(token_ids(self._tokenizer, prompts).to(self._device))[0]
        return embeds


def frozen_unet(spec: TrainSpec, device: torch.device) -> UNet2DConditionModel:
    """The bundle's UNet, after a look at whether the spec's pictures are what it was made for.

    Raises:
        SpecError: If it is for pictures of another size.
    """
    unet: UNet2DConditionModel = load_unet(Path(spec.bundle) / "unet", torch.float32)
    check_size(spec, unet)
    frozen(unet, device)
    return unet


def check_size(spec: TrainSpec, unet: UNet2DConditionModel) -> None:
    """Refuse pictures of another size than the UNet's.

    Raises:
        SpecError: If the sizes differ.
    """
    vae = AutoencoderKL.load_config(Path(spec.bundle) / "vae")
    expected = int(unet.config["sample_size"]) * 2 ** (len(vae["block_out_channels"]) - 1)
    if spec.size != expected:
        raise SpecError(f"size: found {spec.size}, expected {expected} as the UNet of {spec.bundle} has it")


def token_ids(tokenizer: CLIPTokenizer, prompts: Sequence[str]) -> Tensor:
    """(b, 77) ids, padded. Warns of prompts longer than that, which training cuts and the engine does not."""
    encoded = tokenizer(list(prompts), padding="max_length", truncation=True, return_tensors="pt")
    ids: Tensor = encoded.input_ids
    for row in encoded.attention_mask.all(1).nonzero()[:, 0].tolist():  # full ones alone can have been cut
        found, window = len(tokenizer(prompts[row], verbose=False).input_ids), ids.shape[1]
        if found > window:
            warnings.warn(f"prompt: found {found} tokens, training sees {window}: {prompts[row]!r}", stacklevel=2)
    return ids


def image_tensor(image: NDArray[np.uint8]) -> Float[Tensor, "... 3 H W"]:
    """(..., H, W, 3) uint8 to float in [-1, 1]."""
    return torch.from_numpy(image.copy()).movedim(-1, -3).contiguous().float() / 127.5 - 1


def _control_image(row: TrainingRow, kind: ControlKind) -> Float[Tensor, "3 H W"]:
    return control_tensor(row.control(kind))


def control_tensor(image: NDArray[np.uint8]) -> Float[Tensor, "... 3 H W"]:
    """(..., H, W, 3) uint8 to float in [0, 1]."""
    return torch.from_numpy(image.copy()).movedim(-1, -3).contiguous().float() / 255
