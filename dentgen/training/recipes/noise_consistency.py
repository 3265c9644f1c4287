"""Recipe ``noise-consistency``: an adapter that gives a frozen one-step generator its control.

The generator makes a picture from noise; a judge reads a segmentation off it, so noise and maps belong together without
any photograph. The adapter must lead to that picture from its own noise, and to the same one from noise that is mixed
with more and more of another, until the noise is foreign and only the maps are left to say what to draw (noise
consistency training, Luo et al. 2025, https://arxiv.org/abs/2506.19741; written from the paper's method).
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from jaxtyping import Float, Int64
from peft import PeftModel
from torch import Tensor, nn

from dentgen.conditions.labels import SEG_PALETTE
from dentgen.models.adapter import add_adapter, save_adapter
from dentgen.models.control import control_residuals, load_control
from dentgen.models.judges import load_judges
from dentgen.models.parts import ADAPTERS, CONTROLNET
from dentgen.seeding import fresh_weights
from dentgen.spec.train_students import NoiseConsistencySpec
from dentgen.training.data.rows import Batch
from dentgen.training.frozen_judge import FrozenJudge
from dentgen.training.frozen_networks import FrozenAutoencoder, FrozenText
from dentgen.training.losses import consistency_loss
from dentgen.training.noising import Noising
from dentgen.training.one_step_generator import OneStepGenerator
from dentgen.training.recipes.recipe import Recipe


class NoiseConsistencyRecipe(Recipe):
    """Trains ``bundle/adapters/NAME``; generator, base and judge are frozen, and only prompts of the rows are used."""

    def __init__(self, spec: NoiseConsistencySpec, device: torch.device) -> None:
        """Add a fresh adapter to a copy of the base.

        Raises:
            BundleError: If the bundle lacks the generator's LoRA, or judges are missing or damaged.
            SpecError: If the LoRA makes several steps, or there is no judge of that name.
        """
        super().__init__()
        self._spec, self._device = spec, device
        self._autoencoder, self._text = FrozenAutoencoder(spec, device), FrozenText(spec, device)
        self._noising = Noising(spec, device)
        self._generator = OneStepGenerator(spec, self._noising, device)
        self._judge = FrozenJudge(load_judges(spec.judges, device.type), spec.judges, "judge", spec.judge)
        self._palette = torch.from_numpy(SEG_PALETTE.copy()).to(device).float() / 255
        base = load_control(Path(spec.bundle) / CONTROLNET, torch.float32)
        with fresh_weights(spec.seed, "weights", spec.part):
            self.adapted: PeftModel = nn.Module.to(add_adapter(base, spec.rank), device)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Distance between the pictures of two neighbouring mixtures of noise under the same maps.

        The nearer mixture's picture is the target; where that is the maps' own noise, the generator's own picture.
        """
        embeds, level = self._text(self._noising.prompts(batch)), self._levels(batch)
        own, foreign = self._normal(batch, "noise"), self._normal(batch, "foreign noise")
        with torch.no_grad():
            made = self._generator.clean(own, embeds)
            condition = self._autoencoder.encode(self._control_images(made))
            nearer = self._controlled(self._mixed(own, foreign, level - 1), embeds, condition)
            target = torch.where((level == 1)[:, None, None, None], made, nearer)
        loss = consistency_loss(self._controlled(self._mixed(own, foreign, level), embeds, condition), target)
        if not self._spec.boundary:
            return {"loss": loss}
        boundary = consistency_loss(self._controlled(own, embeds, condition), made)
        return {"loss": loss + self._spec.boundary * boundary, "boundary": boundary.detach()}

    def export(self) -> None:
        """Write the adapter in peft's layout, weights in fp16."""
        save_adapter(self.adapted, Path(self._spec.bundle) / ADAPTERS / self._spec.part)

    @torch.no_grad()
    def preview(self, batch: Batch) -> list[Float[Tensor, "b 3 H W"]]:
        """A picture of the generator, what the judge sees in it, a picture of that from foreign noise."""
        embeds = self._text([row.prompt for row in batch.rows])
        made = self._generator.clean(self._normal(batch, "preview"), embeds)
        images = self._control_images(made)
        condition = self._autoencoder.encode(images)
        drawn = self._controlled(self._normal(batch, "foreign preview"), embeds, condition)
        decode = self._autoencoder.decode
        return [decode(made).cpu(), images.cpu() * 2 - 1, decode(drawn).cpu()]

    def _control_images(self, latents: Float[Tensor, "b 4 h w"]) -> Float[Tensor, "b 3 H W"]:
        """What the judge sees in the pictures of latents, in the palette's colours, [0, 1] as ctrLoRA shows them."""
        seen = self._judge.labels(self._autoencoder.decode(latents).clamp(-1, 1))
        return self._palette[seen].movedim(-1, 1).contiguous()

    def _controlled(self, noise: Tensor, embeds: Tensor, condition: Tensor) -> Float[Tensor, "b 4 h w"]:
        timesteps = self._generator.timesteps(len(noise), self._device)
        return self._generator.clean(noise, embeds, control_residuals(self.adapted, condition, timesteps, embeds))

    def _mixed(self, own: Tensor, foreign: Tensor, level: Int64[Tensor, " b"]) -> Float[Tensor, "b 4 h w"]:
        return mixed_noise(own, foreign, level / self._spec.levels)

    def _levels(self, batch: Batch) -> Int64[Tensor, " b"]:
        """A level of every row, 1..levels."""
        drawn = [int(rng.integers(1, self._spec.levels + 1)) for rng in self._noising.generators(batch, "level")]
        return torch.tensor(drawn, device=self._device)

    def _normal(self, batch: Batch, purpose: str) -> Float[Tensor, "b 4 h w"]:
        size = self._autoencoder.latent_size
        return self._noising.normal(batch, purpose, (4, size, size))


def mixed_noise(
    own: Float[Tensor, "b 4 h w"], foreign: Float[Tensor, "b 4 h w"], share: Float[Tensor, " b"]
) -> Float[Tensor, "b 4 h w"]:
    """Standard normal noise on the arc between two independent ones.

    The paper's variance-preserving sqrt(1 - sigma^2) own + sigma foreign with sigma = sin(share pi / 2), so that
    neighbours in equal shares have equal correlations.

    Args:
        own: Standard normal; the result at share 0, exactly.
        foreign: Likewise; the result at share 1.
        share: 0..1 of every row.
    """
    angle = (share.float() * (math.pi / 2))[:, None, None, None]
    return torch.where(angle == 0, own, angle.cos() * own + angle.sin() * foreign)
