"""Recipe ``dreambooth``: a LoRA that learns a look from a handful of pictures under a prompt with a rare word.

The loss on the pictures is joined by that on class pictures, which the bundle drew itself before training from the
prompt without that word, so that everything else keeps its look (prior preservation: DreamBooth, Ruiz et al. 2023,
eq. 2, https://arxiv.org/abs/2208.12242; written from the paper).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from dentgen.models.parts import load_text_encoder, load_tokenizer
from dentgen.models.trained_sampling import HEADER
from dentgen.spec.train_personal import DreamBoothSpec
from dentgen.spec.train_sections import TRAIN_STEPS, LossSpec
from dentgen.training.class_pictures import ClassPictures
from dentgen.training.data.rows import Batch
from dentgen.training.frozen_networks import FrozenAutoencoder, Unregistered, freeze, token_ids
from dentgen.training.lora_student import LAYERS, add_text_lora, lora_unet, write_lora
from dentgen.training.noising import Noised, Noising
from dentgen.training.preview import predict_noise, sampled_preview
from dentgen.training.recipes.recipe import Recipe

_KIND: Final = "dreambooth"


class DreamBoothRecipe(Recipe):
    """Trains ``bundle/loras/NAME``."""

    def __init__(self, spec: DreamBoothSpec, device: torch.device) -> None:
        """Add a fresh LoRA to a copy of the bundle's UNet, and to its text encoder if the spec says so.

        Raises:
            SpecError: If the spec names no image size, and the UNet's is not the default.
        """
        super().__init__()
        self._spec, self._device = spec, device
        self._autoencoder, self._noising = FrozenAutoencoder(spec, device), Noising(spec, device)
        self.student = lora_unet(spec, device, spec.recipe, LAYERS)
        self._tokenizer = load_tokenizer(Path(spec.bundle) / "tokenizer")
        text = freeze(load_text_encoder(Path(spec.bundle) / "text_encoder", torch.float32), device)
        self.text = add_text_lora(text, spec) if spec.train_text_encoder else None
        self._frozen_text = Unregistered(text)
        self._class_pictures = ClassPictures(spec, self._autoencoder.latent_size, device)

    def prepare(self, rank: int = 0, count: int = 1) -> None:
        """Draw the class pictures that are missing."""
        if self._spec.prior_weight:
            self._class_pictures.make(rank, count)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Noise loss of the pictures under the instance prompt, and of as many class pictures under theirs."""
        noised = self._noising.noised(batch, self._autoencoder.pictures(batch))
        noise_pred = self._predict(noised, self._spec.instance_prompt)
        own = self._noising.loss(batch, noised, noise_pred, self._spec.loss)
        if not self._spec.prior_weight:
            return own
        prior = self._prior(batch)
        loss = own["loss"] + self._spec.prior_weight * prior
        return {"loss": loss, "mse": own["mse"], "instance": own["loss"].detach(), "prior": prior.detach()}

    def export(self) -> None:
        """Write the LoRA in diffusers' layout, weights in fp16; its header says which prompts it knows."""
        prompts = {"instance_prompt": self._spec.instance_prompt, "class_prompt": self._spec.class_prompt}
        header = {HEADER: json.dumps({"kind": _KIND, **prompts})}
        write_lora(self.student, Path(self._spec.bundle), self._spec.part, header, self.text)

    @torch.no_grad()
    def preview(self, batch: Batch) -> list[Float[Tensor, "b 3 H W"]]:
        """Image, image generated from the instance prompt, and one from the class prompt with the same noise."""
        columns = self._sampled(batch, self._spec.instance_prompt)
        if self._spec.class_prompt is not None:
            columns.append(self._sampled(batch, self._spec.class_prompt)[-1])
        return columns

    def _prior(self, batch: Batch) -> Tensor:
        """Noise loss of class pictures, which are drawn with replacement, one for each row."""
        picked = [int(rng.integers(self._spec.class_pictures)) for rng in self._noising.generators(batch, "class")]
        clean = self._class_pictures.latents(picked)
        drawn = [int(rng.integers(TRAIN_STEPS)) for rng in self._noising.generators(batch, "class timestep")]
        timesteps = torch.tensor(drawn, device=self._device)
        noise = self._noising.normal(batch, "class noise", tuple(clean.shape[1:]))
        noised = Noised(self._noising.add_noise(clean, noise, timesteps), noise, timesteps)
        plain = LossSpec(snr_floor=self._spec.loss.snr_floor)  # class pictures have no maps to weigh pixels by
        noise_pred = self._predict(noised, self._spec.class_prompt or "")
        return self._noising.loss(batch, noised, noise_pred, plain)["loss"]

    def _predict(self, noised: Noised, prompt: str) -> Float[Tensor, "b 4 h w"]:
        embeds = self._embedded(prompt, len(noised.latents))
        return predict_noise(self.student, noised.latents, noised.timesteps, embeds, None)

    def _embedded(self, prompt: str, count: int) -> Float[Tensor, "b tokens width"]:
        """The prompt's embedding, a row for each of ``count``."""
        embeds: Tensor = self._frozen_text.net(token_ids(self._tokenizer, [prompt]).to(self._device))[0]
        return embeds.expand(count, -1, -1)

    def _sampled(self, batch: Batch, prompt: str) -> list[Tensor]:
        embeds = self._embedded(prompt, len(batch))
        return sampled_preview(batch, None, self._autoencoder, self._noising, self.student, embeds, None)
