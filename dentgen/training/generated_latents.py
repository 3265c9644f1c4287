"""Latents that a bundle generates from a row's control image and prompt, so that decoders train on what they decode."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch
from diffusers import ControlNetModel
from jaxtyping import Float
from torch import Tensor

from dentgen.models.adapter import merge_adapter
from dentgen.models.control import control_residuals, load_control
from dentgen.models.parts import ADAPTERS, CONTROLNET, chosen_part
from dentgen.seeding import derive_seed, numpy_generator
from dentgen.spec.train_recipes import TinyDecoderSpec
from dentgen.training.data.order import Place
from dentgen.training.data.rows import TrainingRow
from dentgen.training.frozen_networks import FrozenAutoencoder, FrozenText, freeze, frozen_unet
from dentgen.training.preview import predict_noise, sample

#: As many as builds use.
_STEPS: Final = 4


class GeneratedLatents:
    """Generates latents for a share of all records, each once and alone, so that they depend on nothing else."""

    def __init__(self, spec: TinyDecoderSpec, autoencoder: FrozenAutoencoder, device: torch.device) -> None:
        """Load the networks that generate.

        Raises:
            BundleError: If the bundle lacks the spec's adapter.
        """
        self._spec, self._autoencoder, self._device = spec, autoencoder, device
        self._text, self._unet = FrozenText(spec, device), frozen_unet(spec, device)
        self._control = freeze(load_adapted_control(Path(spec.bundle), spec.adapter or ""), device)
        self._cache: dict[Place, Tensor] = {}

    def replace(self, latents: Float[Tensor, "b 4 h w"], rows: Sequence[TrainingRow]) -> Float[Tensor, "b 4 h w"]:
        """Replace the latents of the chosen records by generated ones.

        Args:
            latents: Scaled latents from the encoder.
            rows: Their rows.
        """
        pairs = zip(latents, rows, strict=True)
        return torch.stack([self._cached(row) if self._is_chosen(row.place) else latent for latent, row in pairs])

    def _is_chosen(self, place: Place) -> bool:
        return numpy_generator(self._spec.seed, "generated", *_name(place)).random() < self._spec.generated

    def _cached(self, row: TrainingRow) -> Tensor:
        if row.place not in self._cache:
            self._cache[row.place] = self._generate(row).float().cpu()
        return self._cache[row.place].to(self._device)

    @torch.no_grad()
    def _generate(self, row: TrainingRow) -> Float[Tensor, "4 h w"]:
        condition = self._autoencoder.controls([row], [self._spec.control_image])
        embeds, size = self._text([row.prompt]), self._autoencoder.latent_size

        def noise_of(latents: Tensor, timesteps: Tensor) -> Tensor:
            residuals = control_residuals(self._control, condition, timesteps, embeds)
            residuals = [residual * self._spec.adapter_scale for residual in residuals]
            return predict_noise(self._unet, latents, timesteps, embeds, residuals)

        generator = torch.Generator().manual_seed(derive_seed(self._spec.seed, "generated noise", *_name(row.place)))
        noise = torch.randn((1, 4, size, size), generator=generator).to(self._device)
        return sample(noise_of, noise, steps=_STEPS)[0]


def load_adapted_control(bundle: Path, adapter: str) -> ControlNetModel:
    """Load a bundle's control base with an adapter merged in.

    Raises:
        BundleError: If the bundle has no such adapter.
    """
    return merge_adapter(load_control(bundle / CONTROLNET, torch.float32), chosen_part(bundle, ADAPTERS, adapter))


def _name(place: Place) -> tuple[int, int, int, int]:
    return place.chunk.shard, place.chunk.start, place.position, int(place.mirrored)
