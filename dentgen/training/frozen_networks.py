"""Frozen networks of the bundle that a recipe uses: autoencoder, text encoder, UNet.

They are not registered as submodules of the recipe, so neither the optimiser nor gradient synchronisation sees them.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from dentgen.errors import BundleError, SpecError
from dentgen.models.autoencoder import downscale_of
from dentgen.models.bundle import find_bundle
from dentgen.models.native_size import native_size
from dentgen.models.parts import load_text_encoder, load_tokenizer, load_unet, load_vae
from dentgen.spec.train_recipes import LatentSpec
from dentgen.spec.train_sections import CommonSpec, ControlKind
from dentgen.training.data.order import Place
from dentgen.training.data.rows import Batch, TrainingRow

_LOG = logging.getLogger(__name__)
_Net = TypeVar("_Net", bound=nn.Module)


class Unregistered(Generic[_Net]):
    """Holds a network for a module that uses it without owning it: not in its parameters, state dict or ``train()``."""

    def __init__(self, net: _Net) -> None:
        """Hold ``net``."""
        self.net = net


def freeze(net: _Net, device: torch.device) -> _Net:
    """Move a network to its device, for inference only."""
    nn.Module.to(net, device)  # diffusers' own ``to`` warns about a list of modules that is empty here
    return net.eval().requires_grad_(False)


class FrozenAutoencoder:
    """Latents of images and control images, cached if the spec says so.

    Cached latents are encoded one at a time, so that they depend neither on the batch nor on the number of workers.
    """

    def __init__(self, spec: LatentSpec, device: torch.device) -> None:
        """Load the bundle's autoencoder."""
        # channels_last encodes 1.6 times as fast on a CPU
        vae = load_vae(Path(spec.bundle) / "vae", torch.float32, channels_last=True)
        self.vae: AutoencoderKL = freeze(vae, device)
        self.scale = float(self.vae.config["scaling_factor"])
        self.latent_size = spec.conditions.size // downscale_of(self.vae)
        self._cache: dict[tuple[Place, str], Tensor] | None = {} if spec.cache_latents else None
        self._device = device

    def pictures(self, batch: Batch) -> Float[Tensor, "b 4 h w"]:
        """Scaled latents of the rows' images, at the posterior's mode."""
        images = [partial(image_tensor, row.photo) for row in batch.rows]
        return self._latents([(row.place, "picture") for row in batch.rows], images)

    def controls(self, rows: Sequence[TrainingRow], kinds: Sequence[ControlKind]) -> Float[Tensor, "b 4 h w"]:
        """Scaled latents of one control image per row, encoded as [0, 1], ctrLoRA's range for conditions."""
        images = [partial(_control_image, row, kind) for row, kind in zip(rows, kinds, strict=True)]
        return self._latents([(row.place, kind) for row, kind in zip(rows, kinds, strict=True)], images)

    @torch.no_grad()
    def decode(self, latents: Float[Tensor, "b 4 h w"]) -> Float[Tensor, "b 3 H W"]:
        """Images in about [-1, 1] of scaled latents."""
        images: Tensor = self.vae.decode(latents / self.scale).sample
        return images.contiguous()

    def _latents(self, names: Sequence[tuple[Place, str]], images: Sequence[Callable[[], Tensor]]) -> Tensor:
        if self._cache is None:
            return self.encode(torch.stack([image() for image in images]))
        for name, image in zip(names, images, strict=True):
            if name not in self._cache:
                self._cache[name] = self.encode(image()[None])[0].float().cpu()
        return torch.stack([self._cache[name] for name in names]).to(self._device)

    @torch.no_grad()
    def encode(self, images: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b 4 h w"]:
        """Scaled latents of images, at the posterior's mode."""
        latents: Tensor = self.vae.encode(images.to(self._device)).latent_dist.mode() * self.scale
        return latents.contiguous()


class FrozenText:
    """Embeds prompts with the bundle's text encoder."""

    def __init__(self, spec: CommonSpec, device: torch.device) -> None:
        """Load tokenizer and text encoder."""
        bundle = Path(spec.bundle)
        self._tokenizer = load_tokenizer(bundle / "tokenizer")
        self._text: CLIPTextModel = freeze(load_text_encoder(bundle / "text_encoder", torch.float32), device)
        self._device = device

    @torch.no_grad()
    def __call__(self, prompts: Sequence[str]) -> Float[Tensor, "b tokens width"]:
        """Embeddings of prompts, truncated to one window."""
        embeds: Tensor = self._text(token_ids(self._tokenizer, prompts).to(self._device))[0]
        return embeds


def frozen_unet(spec: CommonSpec, device: torch.device) -> UNet2DConditionModel:
    """Load the bundle's UNet.

    Raises:
        SpecError: If it is for images of another size than the default, and the spec names none.
    """
    check_size(spec, spec.bundle)
    unet: UNet2DConditionModel = load_unet(Path(spec.bundle) / "unet", torch.float32)
    return freeze(unet, device)


def check_size(spec: CommonSpec, bundle: str) -> None:
    """Compare the spec's image size with that of a bundle's UNet; another one that the spec names is logged.

    Raises:
        SpecError: If the spec names none, and the UNet's is not the default.
    """
    try:
        native = native_size(find_bundle(bundle))
    except BundleError:
        return  # a UNet need not tell; loading says if anything else is wrong
    size = spec.conditions.size
    if size == native:
        return
    if "size" not in spec.conditions.model_fields_set:
        raise SpecError(
            key="conditions.size", found=f"{size}, the default", expected=f"{native}, as the UNet of {bundle}",
            advice="name the size of the images",
        )  # fmt: skip
    _LOG.warning("conditions.size is %s, but the UNet of bundle %s was trained at %d pixels", size, bundle, native)


def token_ids(tokenizer: CLIPTokenizer, prompts: Sequence[str]) -> Tensor:
    """(b, 77) padded token ids; warns about prompts that are truncated here, but not when generating."""
    encoded = tokenizer(list(prompts), padding="max_length", truncation=True, return_tensors="pt")
    ids: Tensor = encoded.input_ids
    for row in encoded.attention_mask.all(1).nonzero()[:, 0].tolist():  # only full rows can be truncated
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
