"""Recipe ``reward``: an adapter is fine-tuned on what a frozen judge sees in the pictures that it leads to.

The noise loss of recipe ``adapter`` stays. For rows with little noise, one step from the noise prediction leads to a
picture; a judge segments its decoded pixels, and the cross-entropy to the labels is a further loss (ControlNet++, Li et
al. 2024, https://arxiv.org/abs/2404.07987, written from the paper).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from peft import PeftModel
from torch import Tensor, nn

from dentgen.models.adapter import load_adapter, save_adapter
from dentgen.models.control import load_control
from dentgen.models.parts import ADAPTERS, CONTROLNET, chosen_part
from dentgen.seeding import fresh_weights
from dentgen.spec.train_reward import RewardSpec
from dentgen.training.data.records import conditions_of
from dentgen.training.data.rows import Batch
from dentgen.training.judged_reward import JudgedReward
from dentgen.training.preview import predict_noise
from dentgen.training.recipes.adapter import ControlRecipe, Prediction, shown_kind
from dentgen.training.reward_rows import RewardRows

#: The share of rewarded rows, and figures that they alone have.
_SHARE: Final = "rewarded"
_FIGURES: Final = ("reward", "uncertainty", "lighting", "miou", "miou_watch")


class RewardRecipe(ControlRecipe):
    """Trains ``bundle/adapters/NAME``, starting from another adapter; everything else is frozen."""

    shares = dict.fromkeys(_FIGURES, _SHARE)

    def __init__(self, spec: RewardSpec, device: torch.device) -> None:
        """Load the adapter to start from, onto a copy of the base.

        Raises:
            BundleError: If the bundle lacks the adapter or the tiny decoder, or judges are missing or damaged.
            SpecError: If there is no judge of a name.
        """
        super().__init__(spec, device)
        self._spec, bundle = spec, Path(spec.bundle)
        start = chosen_part(bundle, ADAPTERS, spec.adapter)
        with fresh_weights(spec.seed, "weights", spec.part):
            adapted = load_adapter(load_control(bundle / CONTROLNET, torch.float32), start)
        self.adapted: PeftModel = nn.Module.to(adapted, device)
        self._judged = JudgedReward(spec, self._autoencoder.vae, device)
        self._rows = RewardRows(spec, self._noising, device)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Noise loss of all rows, reward loss of those with a timestep in the window."""
        spec, generators = self._spec, self._noising.generators(batch, "bare teeth")
        kinds = [shown_kind(spec.control_image, spec.bare_teeth, rng.random()) for rng in generators]
        timesteps = self._rows.timesteps(batch)
        found = self._predict(self.adapted, batch, kinds, timesteps)
        weights = self._rows.weights(timesteps)
        losses = self._noising.loss(batch, found.noised, found.noise_pred, spec.loss, weights)
        terms = self._terms(batch, found, self._rows.rewarded(timesteps).nonzero()[:, 0])
        reward = terms["loss"].sum() * self._row_weight(batch, len(terms[_SHARE]))
        names = (_SHARE, *self._names())  # the same order in all workers, which average them one by one
        figures = {name: terms[name].detach().sum() / len(batch) for name in names}
        return losses | {"loss": losses["loss"] + reward} | figures

    def export(self) -> None:
        """Write the adapter in peft's layout, weights in fp16."""
        save_adapter(self.adapted, Path(self._spec.bundle) / ADAPTERS / self._spec.part)

    def preview(self, batch: Batch) -> list[Float[Tensor, "b 3 H W"]]:
        """Image, control image, generated image."""
        return self._preview(self.adapted, batch, self._spec.control_image)

    def _terms(self, batch: Batch, found: Prediction, chosen: Int64[Tensor, " n"]) -> dict[str, Float[Tensor, " n"]]:
        """Reward loss and figures of the chosen rows, which alone are decoded; in float32."""
        if not len(chosen):
            return dict.fromkeys(("loss", _SHARE, *self._names()), found.noise_pred.new_zeros(0))
        with_gradient = torch.is_grad_enabled() and self._spec.is_rewarded
        with torch.autocast(self._device.type, enabled=False), torch.set_grad_enabled(with_gradient):
            pictures = [self._judged.pictures(latents) for latents in self._guesses(batch, found, chosen)]
            terms = self._judged.terms(pictures, self._chosen(batch.seg, chosen), self._lighting(batch, chosen))
        return terms | {_SHARE: torch.ones_like(terms["loss"])}

    def _guesses(
        self, batch: Batch, found: Prediction, chosen: Int64[Tensor, " n"]
    ) -> list[Float[Tensor, "n 4 h w"]]:  # fmt: skip
        """Clean latents that the noise predictions imply; with ``uncertainty`` a second guess, from other noise."""
        timesteps = found.noised.timesteps[chosen]
        noisy, noise = found.noised.latents[chosen], found.noise_pred[chosen]
        guesses = [self._noising.denoise(noisy, noise.float(), timesteps)]
        if self._spec.uncertainty:
            other = self._noising.normal(batch, "second noise", tuple(found.clean.shape[1:]))[chosen]
            noisy = self._noising.add_noise(found.clean[chosen], other, timesteps)
            residuals = [residual[chosen] for residual in found.residuals]  # ctrLoRA's do not depend on the noise
            noise = predict_noise(self._unet.net, noisy, timesteps, found.embeds[chosen], residuals)
            guesses.append(self._noising.denoise(noisy, noise.float(), timesteps))
        return guesses

    def _row_weight(self, batch: Batch, rewarded: int) -> float:
        """Weight of a row's loss: the mean over parts and workers becomes a mean over the step's rewarded rows."""
        if not self.training:
            return 1 / max(rewarded, 1)
        return self._spec.batch / len(batch) / max(self._rows.in_step(batch.step), 1)

    def _lighting(self, batch: Batch, chosen: Tensor) -> UInt8[Tensor, "n H W"] | None:
        if "lighting" not in self._names():
            return None
        maps = np.stack([row.record.conditions["lighting"] for row in batch.rows])
        return self._chosen(maps.astype(np.uint8), chosen)

    def _chosen(self, maps: np.ndarray, chosen: Tensor) -> UInt8[Tensor, "n H W"]:
        return torch.from_numpy(maps).to(self._device)[chosen]

    def _names(self) -> list[str]:
        """Figures that this run has."""
        has = {
            "uncertainty": self._spec.uncertainty,
            "lighting": "lighting" in conditions_of(self._spec.control_kinds),
            "miou_watch": self._spec.watch is not None,
        }
        return [name for name in _FIGURES if has.get(name, True)]
