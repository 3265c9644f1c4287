"""Latents that a bundle generates itself, of a row's own control image and prompt.

Decoders are used on such latents, which differ from those that the encoder writes. Refuses to know what learns from
them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dentgen.models.control import control_residuals, load_control, merge_adapter
from dentgen.models.parts import ADAPTERS, CONTROLNET, chosen_part
from dentgen.seeding import derive_seed, numpy_generator
from dentgen.spec.train import TrainSpec
from dentgen.training.data.order import Place
from dentgen.training.data.rows import TrainingRow
from dentgen.training.frozen_networks import FrozenAutoencoder, FrozenText, frozen, frozen_unet
from dentgen.training.preview import predicted, sampled

#: As few as pictures are generated with.
_STEPS: Final = 4


class GeneratedLatents:
    """Generates the latents of a share of all records, each once and alone, so that they depend on nothing else."""

    def __init__(self, spec: TrainSpec, autoencoder: FrozenAutoencoder, device: torch.device) -> None:
        """Load the networks that the bundle generates with."""
        self._spec, self._autoencoder, self._device = spec, autoencoder, device
        self._text, self._unet = FrozenText(spec, device), frozen_unet(spec, device)
        self._control = frozen(controlled(spec), device)
        self._kept: dict[Place, Tensor] = {}

    def instead(self, latents: Float[Tensor, "b 4 h w"], rows: Sequence[TrainingRow]) -> Float[Tensor, "b 4 h w"]:
        """Latents of rows, those of the share's records replaced by generated ones.

        Args:
            latents: Scaled latents that the encoder wrote.
            rows: The rows they are of.
        """
        pairs = zip(latents, rows, strict=True)
        return torch.stack([self._of(row) if self._chosen(row.place) else latent for latent, row in pairs])

    def _chosen(self, place: Place) -> bool:
        return numpy_generator(self._spec.seed, "generated", *_name(place)).random() < self._spec.generated

    def _of(self, row: TrainingRow) -> Tensor:
        if row.place not in self._kept:
            self._kept[row.place] = self._sampled(row).float().cpu()
        return self._kept[row.place].to(self._device)

    @torch.no_grad()
    def _sampled(self, row: TrainingRow) -> Float[Tensor, "4 h w"]:
        condition = self._autoencoder.controls([row], [self._spec.condition])
        embeds, size = self._text([row.prompt]), self._autoencoder.latent_size

        def noise_of(latents: Tensor, timesteps: Tensor) -> Tensor:
            residuals = control_residuals(self._control, condition, timesteps, embeds)
            residuals = [residual * self._spec.control_scale for residual in residuals]
            return predicted(self._unet, latents, timesteps, embeds, residuals)

        drawn = torch.Generator().manual_seed(derive_seed(self._spec.seed, "generated noise", *_name(row.place)))
        noise = torch.randn((1, 4, size, size), generator=drawn).to(self._device)
        return sampled(noise_of, noise, steps=_STEPS)[0]


def controlled(spec: TrainSpec) -> nn.Module:
    """The bundle's control base with the adapter that the spec names.

    Raises:
        BundleError: If the bundle has no such adapter.
    """
    bundle = Path(spec.bundle)
    return merge_adapter(load_control(bundle / CONTROLNET, torch.float32), chosen_part(bundle, ADAPTERS, spec.control))


def _name(place: Place) -> tuple[int, int, int, int]:
    return place.chunk.shard, place.chunk.start, place.position, int(place.mirrored)
