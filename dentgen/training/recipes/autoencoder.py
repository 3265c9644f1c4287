"""Recipe ``autoencoder``: a bundle's AutoencoderKL, on pictures and on control images.

Control images go in as [0, 1], the range in which ctrLoRA encodes conditions. Refuses to know diffusion.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Final

import torch
from diffusers import AutoencoderKL
from jaxtyping import Float
from torch import Tensor, nn

from dentgen.errors import SpecError
from dentgen.models.autoencoder import downscale_of
from dentgen.models.bundle import find_bundle
from dentgen.models.parts import load_vae
from dentgen.seeding import derive_seed, fresh_weights, numpy_generator
from dentgen.spec.train import TrainSpec
from dentgen.training.data.rows import Batch, TrainingData, TrainingRow
from dentgen.training.export import save_network
from dentgen.training.frozen_networks import control_tensor, frozen, image_tensor
from dentgen.training.losses import boundary_error, kl_loss, reconstruction_loss, region_error
from dentgen.training.miniature import new_autoencoder
from dentgen.training.recipes.recipe import Recipe

_CONTROL_SHARE: Final = 0.25
_KL_WEIGHT: Final = 1e-4
_ALIGN_WEIGHT: Final = 0.05
_SCALE_PICTURES: Final = 128
#: Encoded together: few, because of all workers only one is left here.
_SCALE_PART: Final = 4


class AutoencoderRecipe(Recipe):
    """Trains ``bundle/vae``."""

    def __init__(self, spec: TrainSpec, data: TrainingData, device: torch.device) -> None:
        """Start from another bundle's weights, or from fresh ones drawn from the spec's seed."""
        super().__init__()
        self._spec, self._data, self._device = spec, data, device
        with fresh_weights(spec.seed, "weights", "autoencoder"):
            vae = new_autoencoder(spec.size)
        if spec.start:
            vae = load_vae(find_bundle(spec.start) / "vae", torch.float32)
        layout = torch.channels_last if spec.channels_last else torch.contiguous_format
        self.vae: AutoencoderKL = vae.to(device, memory_format=layout).train()
        self._known = (frozen(_known_encoder(spec, vae), device),) if spec.align else ()

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Errors of one batch of reconstructions, KL, and how far latents are from those to stay near."""
        images = torch.stack([self._image(batch, number, row) for number, row in enumerate(batch.rows)])
        images = images.to(self._device)
        posterior = self.vae.encode(images).latent_dist
        decoded = self.vae.decode(posterior.mean + posterior.std * self._noise(batch, posterior.mean)).sample
        reconstruction = reconstruction_loss(decoded, images)
        kl = kl_loss(posterior.mean, posterior.logvar)
        mse = (decoded - images).square().mean().detach()
        losses = {"loss": reconstruction + _KL_WEIGHT * kl, "mse": mse, "kl": kl.detach()}
        if self._spec.detail:
            losses["boundary"] = boundary_error(decoded, images, torch.from_numpy(batch.seg).to(self._device))
            losses["loss"] = losses["loss"] + losses["boundary"]
        if not self._spec.loss.is_plain:
            losses["weighted"] = region_error(decoded, images, torch.from_numpy(batch.seg), self._spec.loss)
            losses["loss"] = losses["loss"] + losses["weighted"]
        for known in self._known:
            strayed = _distance(posterior.mean, known, images)
            losses["loss"] = losses["loss"] + _ALIGN_WEIGHT * strayed
            losses["align"] = strayed.detach()
        return losses

    def export(self) -> None:
        """Measure the latents' scale and write the autoencoder in fp16."""
        vae = copy.deepcopy(self.vae).eval()
        steps = -(-_SCALE_PICTURES // self._spec.batch)
        with torch.no_grad():
            photos = torch.cat(
                [image_tensor(self._data.batch(step, 0, self._spec.batch).photos) for step in range(steps)]
            )
            parts = photos[:_SCALE_PICTURES].split(_SCALE_PART)
            latents = torch.cat([vae.encode(part.to(self._device)).latent_dist.mode() for part in parts])
        vae.register_to_config(scaling_factor=round(1 / float(latents.std()), 5))
        save_network(vae, Path(self._spec.bundle) / "vae")

    @torch.no_grad()
    def preview(self, batch: Batch) -> list[Float[Tensor, "b 3 H W"]]:
        """Picture, reconstruction."""
        images = image_tensor(batch.photos).to(self._device)
        return [images, self.vae.decode(self.vae.encode(images).latent_dist.mode()).sample]

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


def _known_encoder(spec: TrainSpec, vae: AutoencoderKL) -> AutoencoderKL:
    """The autoencoder whose latents the trained one's shall stay near.

    Raises:
        SpecError: If its latents have another number of channels or another size.
    """
    known: AutoencoderKL = load_vae(find_bundle(spec.align) / "vae", torch.float32)
    found, expected = ((net.config["latent_channels"], downscale_of(net)) for net in (known, vae))
    if found != expected:
        raise SpecError(f"align: found latents of (channels, downscale) {found} in {spec.align}, expected {expected}")
    return known


def _distance(latents: Tensor, known: nn.Module, images: Tensor) -> Tensor:
    """Squared error against another encoder's latents of the same images, as a share of all its latents' variance."""
    assert isinstance(known, AutoencoderKL)
    with torch.no_grad():
        expected = known.encode(images).latent_dist.mode()
    return (latents - expected).square().mean() * float(known.config["scaling_factor"]) ** 2
