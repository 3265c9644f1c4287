"""Recipe ``autoencoder``: the miniature's AutoencoderKL, on pictures and on control images.

Control images go in as [0, 1], the range in which ctrLoRA encodes conditions. Refuses to know diffusion.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from dentgen.models.bundle import find_bundle
from dentgen.seeding import derive_seed, fresh_weights, numpy_generator
from dentgen.training.data import CONTROL_KINDS, TrainingSet
from dentgen.training.losses import kl_loss, reconstruction_loss
from dentgen.training.miniature import new_autoencoder
from dentgen.training.spec import TrainSpec

_CONTROL_SHARE: Final = 0.25
_KL_WEIGHT: Final = 1e-4


class AutoencoderRecipe:
    """Trains ``bundle/vae``."""

    def __init__(self, spec: TrainSpec, data: TrainingSet) -> None:
        """Start from another bundle's weights, or from fresh ones drawn from the spec's seed."""
        self._spec, self._data = spec, data
        with fresh_weights(spec.seed, "weights", "autoencoder"):
            vae = new_autoencoder(spec.size)
        if spec.start:
            vae.load_state_dict(AutoencoderKL.from_pretrained(find_bundle(spec.start), subfolder="vae").state_dict())
        self._vae: AutoencoderKL = vae.to(memory_format=torch.channels_last) if spec.channels_last else vae
        self.trained = nn.ModuleDict({"vae": self._vae})

    def loss(self, step: int) -> dict[str, Tensor]:
        """Reconstruction and KL of one batch."""
        images = self._batch(step)
        posterior = self._vae.encode(images).latent_dist
        generator = torch.Generator().manual_seed(derive_seed(self._spec.seed, "posterior", step))
        decoded = self._vae.decode(posterior.sample(generator)).sample
        reconstruction = reconstruction_loss(decoded, images)
        kl = kl_loss(posterior.mean, posterior.logvar)
        mse = (decoded - images).square().mean().detach()
        return {"loss": reconstruction + _KL_WEIGHT * kl, "mse": mse, "kl": kl.detach()}

    def export(self) -> None:
        """Measure the latents' scale and write the autoencoder in fp16."""
        vae = self._vae.eval()
        rng = numpy_generator(self._spec.seed, "scale")
        with torch.no_grad():
            photos = self._data.photos[rng.permutation(len(self._data))[:128]]
            latents = torch.cat([vae.encode(image_tensor(batch)).latent_dist.mode() for batch in _chunks(photos)])
        vae.register_to_config(scaling_factor=round(1 / float(latents.std()), 5))
        vae.half().save_pretrained(Path(self._spec.bundle) / "vae")

    def _batch(self, step: int) -> Tensor:
        rng = numpy_generator(self._spec.seed, "batch", step)
        images = []
        for index in rng.integers(len(self._data), size=self._spec.batch):
            if rng.random() < _CONTROL_SHARE:
                kind = CONTROL_KINDS[rng.integers(len(CONTROL_KINDS))]
                images.append(torch.from_numpy(self._data.controls[kind][index].copy()).float() / 255)
            else:
                images.append(torch.from_numpy(self._data.photos[index].copy()).float() / 127.5 - 1)
        batch = torch.stack(images).permute(0, 3, 1, 2)
        layout = torch.channels_last if self._spec.channels_last else torch.contiguous_format
        return batch.contiguous(memory_format=layout)


def image_tensor(images: object) -> Tensor:
    """(b, H, W, 3) uint8 to (b, 3, H, W) float in [-1, 1]."""
    return torch.as_tensor(images).permute(0, 3, 1, 2).contiguous().float() / 127.5 - 1


def control_tensor(images: object) -> Tensor:
    """(b, H, W, 3) uint8 to (b, 3, H, W) float in [0, 1], ctrLoRA's range for conditions."""
    return torch.as_tensor(images).permute(0, 3, 1, 2).contiguous().float() / 255


def _chunks(images: object, size: int = 16) -> list[Tensor]:
    return list(torch.as_tensor(images).split(size))
