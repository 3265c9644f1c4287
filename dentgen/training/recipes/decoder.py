"""Recipe ``decoder``: the bundle's decoder, or a tiny one; the encoder is frozen, so adapters remain valid.

``tiny`` distils the KL decoder into an AutoencoderTiny, on latents of the encoder and on generated ones; ``kl``
sharpens the bundle's own decoder on photographs. The loss adds to the pixel error that of pixel differences, of tooth
and gingiva boundaries, where small decoders blur, and of the amount of texture.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Final

import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from dentgen.errors import SpecError
from dentgen.models.bundle import find_bundle
from dentgen.models.parts import TINY_DECODER, load_tiny_decoder
from dentgen.seeding import fresh_weights
from dentgen.spec.train_recipes import KlDecoderSpec, TinyDecoderSpec
from dentgen.training.data.rows import Batch
from dentgen.training.export import save_network
from dentgen.training.frozen_networks import FrozenAutoencoder, Unregistered, image_tensor
from dentgen.training.generated_latents import GeneratedLatents
from dentgen.training.losses import boundary_error, reconstruction_loss, texture_error
from dentgen.training.recipes.recipe import Recipe

_TEXTURE_WEIGHT: Final = 0.2
_CRITIC_WIDTH: Final = 32
#: Of the encoder, which AutoencoderTiny cannot do without.
_UNUSED_WIDTH: Final = 8


class DecoderRecipe(Recipe):
    """Trains ``bundle/tiny_decoder``, or the decoder within ``bundle/vae``."""

    def __init__(self, spec: TinyDecoderSpec | KlDecoderSpec, device: torch.device) -> None:
        """Start a tiny decoder from another bundle's or from fresh weights, a KL decoder from the bundle's own.

        Raises:
            SpecError: If ``decoder_blocks`` does not fit the autoencoder.
        """
        super().__init__()
        self._spec, self._device = spec, device
        self._autoencoder = FrozenAutoencoder(spec, device)
        self._distils = isinstance(spec, TinyDecoderSpec) and spec.distil
        self._generated = None
        if isinstance(spec, TinyDecoderSpec) and spec.generated:
            self._generated = GeneratedLatents(spec, self._autoencoder, device)
        with fresh_weights(spec.seed, "weights", "decoder"):
            # only its decoder is trained
            self._whole: Unregistered[AutoencoderTiny | AutoencoderKL] = Unregistered(_start(spec, self._autoencoder))
            self.decoder = _decoder_of(self._whole.net)
            self.critic = _critic() if spec.adversarial else None
        layout = torch.channels_last if spec.channels_last else torch.contiguous_format
        self.requires_grad_(True).train().to(device, memory_format=layout)  # type: ignore[call-overload]

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Errors of one batch of decoded images."""
        latents, target = self._pair(batch)
        decoded = self._decode(latents)
        mse = (decoded - target).square().mean()
        losses = {"loss": mse, "mse": mse.detach()}
        if self._spec.detail:
            at_boundaries = boundary_error(decoded, target, torch.from_numpy(batch.seg).to(self._device))
            losses["loss"] = reconstruction_loss(decoded, target) + at_boundaries
            losses["boundary"] = at_boundaries.detach()
        if self._spec.detail and self._distils:  # latents hold too little of a photograph's texture
            texture = texture_error(decoded, target)
            losses["loss"] = losses["loss"] + _TEXTURE_WEIGHT * texture
            losses["texture"] = texture.detach()
        if self.critic is not None:
            losses["loss"] = losses["loss"] + self._adversarial(self.critic, decoded, target)
        return losses

    def export(self) -> None:
        """Write the decoder in diffusers' layout, weights in fp16."""
        part = TINY_DECODER if isinstance(self._spec, TinyDecoderSpec) else "vae"
        save_network(self._whole.net, Path(self._spec.bundle) / part)

    @torch.no_grad()
    def preview(self, batch: Batch) -> list[Float[Tensor, "b 3 H W"]]:
        """Image, target, decoded image."""
        latents, target = self._pair(batch)
        return [image_tensor(batch.photos).to(self._device), target, self._decode(latents)]

    @torch.no_grad()
    def _pair(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Scaled latents and their target images."""
        latents = self._autoencoder.pictures(batch)
        if self._generated is not None:
            latents = self._generated.replace(latents, batch.rows)
        if self._distils:
            return latents, self._autoencoder.decode(latents)
        return latents, image_tensor(batch.photos).to(self._device)

    def _decode(self, latents: Tensor) -> Tensor:
        scale = 1.0 if isinstance(self._spec, TinyDecoderSpec) else self._autoencoder.scale
        images: Tensor = self.decoder(latents / scale)
        return images

    def _adversarial(self, critic: nn.Module, decoded: Tensor, target: Tensor) -> Tensor:
        """Logistic GAN losses of critic and decoder in one sum; neither's gradient reaches the other's weights."""
        frozen = {name: value.detach() for name, value in critic.named_parameters()}
        critic_loss = F.softplus(critic(decoded.detach())).mean() + F.softplus(-critic(target)).mean()
        decoder_loss = F.softplus(-functional_call(critic, frozen, (decoded,))).mean()
        return critic_loss + self._spec.adversarial * decoder_loss


def _start(spec: TinyDecoderSpec | KlDecoderSpec, autoencoder: FrozenAutoencoder) -> AutoencoderTiny | AutoencoderKL:
    """The autoencoder whose decoder is trained."""
    if isinstance(spec, KlDecoderSpec):
        return copy.deepcopy(autoencoder.vae)
    if spec.start:
        return load_tiny_decoder(find_bundle(spec.start) / TINY_DECODER, autoencoder.vae, torch.float32)
    return _fresh_tiny(spec, autoencoder)


def _decoder_of(net: AutoencoderTiny | AutoencoderKL) -> nn.Module:
    decoder: nn.Module = net.decoder
    return decoder if isinstance(net, AutoencoderTiny) else nn.Sequential(net.post_quant_conv, decoder)


def _fresh_tiny(spec: TinyDecoderSpec, autoencoder: FrozenAutoencoder) -> AutoencoderTiny:
    levels = len(autoencoder.vae.config["block_out_channels"])
    if len(spec.decoder_blocks) != levels:
        raise SpecError(
            key="decoder_blocks",
            found=f"{len(spec.decoder_blocks)} levels",
            expected=f"{levels}, as the autoencoder of {spec.bundle} has",
        )
    tiny: AutoencoderTiny = AutoencoderTiny(
        encoder_block_out_channels=(_UNUSED_WIDTH,) * levels, decoder_block_out_channels=(spec.decoder_width,) * levels,
        latent_channels=4,
        num_encoder_blocks=(1,) * levels, num_decoder_blocks=spec.decoder_blocks,
    )  # fmt: skip
    return tiny


def _critic() -> nn.Module:
    """A critic of patches of 14 pixels."""
    width = _CRITIC_WIDTH
    return nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1), nn.LeakyReLU(0.2),
        nn.Conv2d(width, width, 4, stride=2, padding=1), nn.GroupNorm(8, width), nn.LeakyReLU(0.2),
        nn.Conv2d(width, width, 4, stride=2, padding=1), nn.GroupNorm(8, width), nn.LeakyReLU(0.2),
        nn.Conv2d(width, 1, 3, padding=1),
    )  # fmt: skip
