"""Recipe ``decoder``: what turns latents into pictures, with the encoder frozen, so that adapters stay valid.

``tiny`` distils the KL decoder into an AutoencoderTiny, on latents of the encoder and on generated ones;
``kl`` sharpens the bundle's own decoder on photographs. Beside the error of pixels stand the errors of their
differences, of what lies about the boundaries of teeth and gum, where small decoders blur, and of how much texture
there is. Refuses to know diffusion.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Final

import torch
from diffusers import AutoencoderTiny
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from dentgen.errors import SpecError
from dentgen.models.bundle import find_bundle
from dentgen.models.parts import TINY_DECODER, load_tiny_decoder
from dentgen.seeding import fresh_weights
from dentgen.spec.train import TrainSpec
from dentgen.training.data.rows import Batch
from dentgen.training.export import save_network
from dentgen.training.frozen_networks import FrozenAutoencoder, image_tensor
from dentgen.training.generated_latents import GeneratedLatents
from dentgen.training.losses import boundary_error, reconstruction_loss, texture_error
from dentgen.training.recipes.recipe import Recipe

_TEXTURE_WEIGHT: Final = 0.2
_CRITIC_WIDTH: Final = 32
#: Of an encoder that diffusers' class cannot do without.
_UNUSED_WIDTH: Final = 8


class DecoderRecipe(Recipe):
    """Trains ``bundle/tiny_decoder``, or the decoder within ``bundle/vae``."""

    def __init__(self, spec: TrainSpec, device: torch.device) -> None:
        """Start from another bundle's decoder, or from fresh weights; a KL decoder always goes on from the bundle's."""
        super().__init__()
        self._spec, self._device = spec, device
        self._autoencoder = FrozenAutoencoder(spec, device)
        self._generated = (GeneratedLatents(spec, self._autoencoder, device),) if spec.generated else ()
        self._vae = (copy.deepcopy(self._autoencoder.vae),)  # a module of its own would be trained whole
        self.critic = None
        with fresh_weights(spec.seed, "weights", "decoder"):
            if spec.decoder == "tiny":
                self._tiny = (_tiny(spec, self._autoencoder),)
                self.decoder = self._tiny[0].decoder
            else:
                self.decoder = nn.Sequential(self._vae[0].post_quant_conv, self._vae[0].decoder)
            self.critic = _critic() if spec.adversarial else None
        layout = torch.channels_last if spec.channels_last else torch.contiguous_format
        self.requires_grad_(True).train().to(device, memory_format=layout)  # type: ignore[call-overload]

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Errors of one batch of decoded pictures."""
        latents, target = self._pair(batch)
        decoded = self._decoded(latents)
        mse = (decoded - target).square().mean()
        losses = {"loss": mse, "mse": mse.detach()}
        if self._spec.detail:
            at_boundaries = boundary_error(decoded, target, torch.from_numpy(batch.seg).to(self._device))
            losses["loss"] = reconstruction_loss(decoded, target) + at_boundaries
            losses["boundary"] = at_boundaries.detach()
        if self._spec.detail and self._spec.distils:  # of a photograph's texture latents do not know enough
            texture = texture_error(decoded, target)
            losses["loss"] = losses["loss"] + _TEXTURE_WEIGHT * texture
            losses["texture"] = texture.detach()
        if self.critic is not None:
            losses["loss"] = losses["loss"] + self._adversarial(self.critic, decoded, target)
        return losses

    def export(self) -> None:
        """Write the decoder in diffusers' layout, weights in fp16."""
        bundle = Path(self._spec.bundle)
        if self._spec.decoder == "tiny":
            save_network(self._tiny[0], bundle / TINY_DECODER)
        else:
            save_network(self._vae[0], bundle / "vae")

    @torch.no_grad()
    def preview(self, batch: Batch) -> list[Float[Tensor, "b 3 H W"]]:
        """Picture, what the decoder learns, what it decodes."""
        latents, target = self._pair(batch)
        return [image_tensor(batch.photos).to(self._device), target, self._decoded(latents)]

    @torch.no_grad()
    def _pair(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Scaled latents, and the pictures that shall come of them."""
        latents = self._autoencoder.pictures(batch)
        for generated in self._generated:
            latents = generated.instead(latents, batch.rows)
        if self._spec.distils:
            return latents, self._autoencoder.decode(latents)
        return latents, image_tensor(batch.photos).to(self._device)

    def _decoded(self, latents: Tensor) -> Tensor:
        scale = 1.0 if self._spec.decoder == "tiny" else self._autoencoder.scale
        pictures: Tensor = self.decoder(latents / scale)
        return pictures

    def _adversarial(self, critic: nn.Module, decoded: Tensor, target: Tensor) -> Tensor:
        """Critic's and decoder's logistic losses in one: each is blind to the other's weights."""
        known = {name: value.detach() for name, value in critic.named_parameters()}
        told_apart = F.softplus(critic(decoded.detach())).mean() + F.softplus(-critic(target)).mean()
        fooled = F.softplus(-functional_call(critic, known, (decoded,))).mean()
        return told_apart + self._spec.adversarial * fooled


def _tiny(spec: TrainSpec, autoencoder: FrozenAutoencoder) -> AutoencoderTiny:
    if spec.start:
        return load_tiny_decoder(find_bundle(spec.start) / TINY_DECODER, autoencoder.vae, torch.float32)
    levels = len(autoencoder.vae.config["block_out_channels"])
    if len(spec.decoder_blocks) != levels:
        raise SpecError(f"decoder_blocks: found {len(spec.decoder_blocks)} levels, expected {levels} as the vae's")
    tiny: AutoencoderTiny = AutoencoderTiny(
        encoder_block_out_channels=(_UNUSED_WIDTH,) * levels, decoder_block_out_channels=(spec.decoder_width,) * levels,
        latent_channels=4,
        num_encoder_blocks=(1,) * levels, num_decoder_blocks=spec.decoder_blocks,
    )  # fmt: skip
    return tiny


def _critic() -> nn.Module:
    """Judges patches of 14 pixels."""
    width = _CRITIC_WIDTH
    return nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1), nn.LeakyReLU(0.2),
        nn.Conv2d(width, width, 4, stride=2, padding=1), nn.GroupNorm(8, width), nn.LeakyReLU(0.2),
        nn.Conv2d(width, width, 4, stride=2, padding=1), nn.GroupNorm(8, width), nn.LeakyReLU(0.2),
        nn.Conv2d(width, 1, 3, padding=1),
    )  # fmt: skip
