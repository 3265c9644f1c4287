"""Recipe ``autoencoder``: a bundle's AutoencoderKL, on images and control images.

Control images are encoded as [0, 1], ctrLoRA's range for conditions.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from diffusers import AutoencoderKL
from jaxtyping import Float
from torch import Tensor

from dentgen.errors import SpecError
from dentgen.models.autoencoder import downscale_of
from dentgen.models.bundle import find_bundle
from dentgen.models.imagenet import ImageNetEncoder
from dentgen.models.parts import load_vae
from dentgen.seeding import derive_seed, fresh_weights, numpy_generator
from dentgen.spec.train_recipes import AutoencoderSpec
from dentgen.training.data.rows import Batch, TrainingData, TrainingRow
from dentgen.training.export import save_network
from dentgen.training.frozen_networks import Unregistered, control_tensor, freeze, image_tensor
from dentgen.training.losses import (
    boundary_error,
    colour_error,
    image_weights,
    kl_loss,
    perceptual_error,
    reconstruction_loss,
    region_error,
)
from dentgen.training.miniature import new_autoencoder
from dentgen.training.recipes.recipe import Recipe

_CONTROL_SHARE: Final = 0.25
_KL_WEIGHT: Final = 1e-4
_ALIGN_WEIGHT: Final = 0.05
#: Images that mean and scale of the latents are measured on, and how many of them are encoded at a time.
_SCALE_IMAGES: Final = 128
_SCALE_BATCH: Final = 4


class AutoencoderRecipe(Recipe):
    """Trains ``bundle/vae``."""

    def __init__(self, spec: AutoencoderSpec, data: TrainingData, device: torch.device) -> None:
        """Start from another bundle's weights, or from fresh ones.

        Args:
            spec: The run.
            data: Rows that mean and scale of the latents are measured on at export.
            device: Where it trains.

        Raises:
            SpecError: If the latents to align with have another shape, those of ``start`` cannot be shifted, or the
                perceptual loss has no encoder.
        """
        super().__init__()
        self._spec, self._data, self._device = spec, data, device
        with fresh_weights(spec.seed, "weights", "autoencoder"):
            vae = new_autoencoder(spec.conditions.size)
        if spec.start:
            vae = load_vae(find_bundle(spec.start) / "vae", torch.float32)
            _check_shiftable(vae, spec)
        layout = torch.channels_last if spec.channels_last else torch.contiguous_format
        self.vae: AutoencoderKL = vae.to(device, memory_format=layout).train()
        known = None if spec.align is None else _load_aligned(spec.align, vae)
        self._aligned = None if known is None else Unregistered(freeze(known, device))
        self._features = None
        if spec.perceptual:
            self._features = Unregistered(freeze(ImageNetEncoder(pretrained=True), device))

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Reconstruction errors and KL of one batch, and the distance of its latents from those of ``align``."""
        images, seg, found = self._shown(batch)
        posterior = self.vae.encode(images).latent_dist
        decoded = self.vae.decode(posterior.mean + posterior.std * self._noise(batch, posterior.mean)).sample
        reconstruction = reconstruction_loss(decoded, images)
        kl = kl_loss(posterior.mean, posterior.logvar)
        mse = (decoded - images).square().mean().detach()
        losses = {"loss": reconstruction + _KL_WEIGHT * kl, "mse": mse, "kl": kl.detach()}
        if self._spec.detail:
            losses["boundary"] = boundary_error(decoded, images, seg)
            losses["loss"] = losses["loss"] + losses["boundary"]
        weights = image_weights(seg, self._spec.loss, found)
        if not self._spec.loss.is_plain:
            losses["weighted"] = region_error(decoded, images, weights)
            losses["loss"] = losses["loss"] + losses["weighted"]
        if self._spec.colour:
            losses["colour"] = colour_error(decoded, images, weights)
            losses["loss"] = losses["loss"] + self._spec.colour * losses["colour"]
        if self._features is not None:
            losses["perceptual"] = perceptual_error(self._features.net, decoded, images)
            losses["loss"] = losses["loss"] + self._spec.perceptual * losses["perceptual"]
        if self._aligned is not None:
            distance = _distance(posterior.mean, self._aligned.net, images)
            losses["loss"] = losses["loss"] + _ALIGN_WEIGHT * distance
            losses["align"] = distance.detach()
        return losses

    def export(self) -> None:
        """Write the autoencoder, weights in fp16, with latents of mean 0 and a scale to 1, or as those of ``align``."""
        vae = copy.deepcopy(self.vae).eval()
        if self._aligned is None:
            latents = self._latents(vae)
            mean = latents.mean((0, 2, 3))
            shift_latents(vae, -mean)
            scale = round(1 / float((latents - mean[:, None, None]).std()), 5)
        else:
            scale = self._aligned.net.config["scaling_factor"]
        vae.register_to_config(scaling_factor=scale)
        save_network(vae, Path(self._spec.bundle) / "vae")

    def _latents(self, vae: AutoencoderKL) -> Float[Tensor, "n 4 h w"]:
        """Unscaled latents of photographs."""
        steps = -(-_SCALE_IMAGES // self._spec.batch)
        with torch.no_grad():
            photos = torch.cat(
                [image_tensor(self._data.batch(step, 0, self._spec.batch).photos) for step in range(steps)]
            )
            parts = photos[:_SCALE_IMAGES].split(_SCALE_BATCH)
            return torch.cat([vae.encode(part.to(self._device)).latent_dist.mode() for part in parts])

    @torch.no_grad()
    def preview(self, batch: Batch) -> list[Float[Tensor, "b 3 H W"]]:
        """Image, reconstruction."""
        images = image_tensor(batch.photos).to(self._device)
        return [images, self.vae.decode(self.vae.encode(images).latent_dist.mode()).sample]

    def _shown(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Images (b, 3, h, w) that the batch is trained on, label maps and findings (b, h, w), cut to ``crop``."""
        images = torch.stack([self._image(batch, number, row) for number, row in enumerate(batch.rows)])
        findings = batch.found if self._spec.loss.finding else np.zeros(batch.seg.shape, bool)
        maps = [images, torch.from_numpy(batch.seg), torch.from_numpy(findings)]
        if self._spec.crop is not None:
            corners = [self._corner(batch, number, self._spec.crop) for number in range(len(batch))]
            maps = [_cut(each, corners, self._spec.crop) for each in maps]
        images, seg, found = (each.to(self._device) for each in maps)
        return images, seg, found

    def _corner(self, batch: Batch, number: int, crop: int) -> tuple[int, int]:
        rng = numpy_generator(self._spec.seed, "crop", batch.step, batch.first + number)
        down, right = rng.integers(self._spec.conditions.size - crop + 1, size=2)
        return int(down), int(right)

    def _image(self, batch: Batch, number: int, row: TrainingRow) -> Tensor:
        rng = numpy_generator(self._spec.seed, "shown", batch.step, batch.first + number)
        if rng.random() >= _CONTROL_SHARE:
            return image_tensor(row.photo)
        kinds = sorted(self._spec.control_kinds)
        return control_tensor(row.control(kinds[rng.integers(len(kinds))]))

    def _noise(self, batch: Batch, like: Tensor) -> Tensor:
        seeds = [derive_seed(self._spec.seed, "posterior", batch.step, batch.first + i) for i in range(len(batch))]
        noise = [torch.randn(like.shape[1:], generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        return torch.stack(noise).to(like)


@torch.no_grad()
def shift_latents(vae: AutoencoderKL, shift: Float[Tensor, " 4"]) -> None:
    """Add ``shift`` to every latent that an autoencoder encodes, and take it off before decoding: pictures stay.

    At the last timestep of Stable Diffusion's schedule .07 of a picture is left, enough to read its mean colour from
    (Lin et al. 2023, https://arxiv.org/abs/2305.08891). Sampling begins with noise of mean 0. Where the latents of
    pictures have another mean, a network that learnt to read it takes every picture for one of mean 0, which is grey.
    """
    vae.quant_conv.bias[: len(shift)] += shift
    vae.post_quant_conv.bias -= vae.post_quant_conv.weight[:, :, 0, 0] @ shift


def _cut(maps: Tensor, corners: Sequence[tuple[int, int]], edge: int) -> Tensor:
    """Squares (b, ..., edge, edge) of maps (b, ..., H, W) from their upper left corners."""
    pairs = zip(maps, corners, strict=True)
    return torch.stack([part[..., down : down + edge, right : right + edge] for part, (down, right) in pairs])


def _check_shiftable(vae: AutoencoderKL, spec: AutoencoderSpec) -> None:
    """Refuse an autoencoder that ``export`` could not give latents of mean 0.

    Raises:
        SpecError: If it has no convolutions of 1x1 around its latents, whose biases ``shift_latents`` changes.
    """
    if spec.align is None and (vae.quant_conv is None or vae.post_quant_conv is None):
        raise SpecError(
            f"the autoencoder of {spec.start} has nothing that could shift its latents",
            key="start",
            found=", ".join(f"{key}: {vae.config[key]}" for key in ("use_quant_conv", "use_post_quant_conv")),
            expected="both true, or align",
        )


def _load_aligned(bundle: str, vae: AutoencoderKL) -> AutoencoderKL:
    """The autoencoder whose latents ``vae`` stays close to.

    Raises:
        SpecError: If its latents have another number of channels or another size.
    """
    known: AutoencoderKL = load_vae(find_bundle(bundle) / "vae", torch.float32)
    found, expected = (
        f"latents of {net.config['latent_channels']} channels at 1/{downscale_of(net)} of the size"
        for net in (known, vae)
    )
    if found != expected:
        raise SpecError(f"{bundle} has other latents", key="align", found=found, expected=expected)
    return known


def _distance(latents: Tensor, known: AutoencoderKL, images: Tensor) -> Tensor:
    """Mean squared distance from another encoder's latents of the same images, in units of their overall variance."""
    with torch.no_grad():
        expected = known.encode(images).latent_dist.mode()
    return (latents - expected).square().mean() * float(known.config["scaling_factor"]) ** 2
