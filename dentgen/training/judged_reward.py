"""What frozen judges make of decoded pictures: the reward loss of every row, and figures for the log."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from jaxtyping import Float, UInt8
from torch import Tensor

from dentgen.conditions.labels import TOOTH
from dentgen.models.judges import load_judges
from dentgen.models.parts import TINY_DECODER, load_tiny_decoder
from dentgen.spec.train_reward import RewardSpec
from dentgen.training.frozen_judge import FrozenJudge
from dentgen.training.frozen_networks import Unregistered, freeze
from dentgen.training.reward_terms import (
    cross_entropy,
    divergence,
    judged_miou,
    lighting_error,
    rectified,
    row_means,
)


class JudgedReward:
    """The rewarded judge, the watched one, and the decoder whose pictures they see; gradients reach the latents."""

    def __init__(self, spec: RewardSpec, vae: AutoencoderKL, device: torch.device) -> None:
        """Load judges, and the tiny decoder if the spec asks for it.

        Raises:
            BundleError: If a file is missing or damaged.
            SpecError: If there is no judge of a name.
        """
        self._spec, judges = spec, load_judges(spec.judges, device.type)
        self._judge = FrozenJudge(judges, spec.judges, "judge", spec.judge)
        self._watch = None if spec.watch is None else FrozenJudge(judges, spec.judges, "watch", spec.watch)
        self._decoder: Unregistered[AutoencoderKL | AutoencoderTiny] = Unregistered(vae)
        if spec.reward_decoder == "tiny":
            tiny = load_tiny_decoder(Path(spec.bundle) / TINY_DECODER, vae, torch.float32)
            self._decoder = Unregistered(freeze(tiny, device))

    def pictures(self, latents: Float[Tensor, "n 4 h w"]) -> Float[Tensor, "n 3 H W"]:
        """Decode scaled latents to pictures in [-1, 1]."""
        decoder = self._decoder.net
        decoded: Tensor = decoder.decode(latents / float(decoder.config["scaling_factor"]), return_dict=False)[0]
        return decoded.clamp(-1, 1)

    def terms(
        self,
        pictures: Sequence[Float[Tensor, "n 3 H W"]],
        labels: UInt8[Tensor, "n H W"],
        lighting: UInt8[Tensor, "n H W"] | None,
    ) -> dict[str, Float[Tensor, " n"]]:
        """Reward loss and figures of every row.

        Args:
            pictures: Pictures in [-1, 1]; with ``uncertainty``, two of each row.
            labels: Tissue classes or ``IGNORE``.
            lighting: Lighting maps; None leaves out what needs them.

        Returns:
            ``loss``: the weighted reward loss. Means over a row's pictures, unweighted: ``reward`` (cross-entropy),
            ``uncertainty`` and ``lighting`` (1 - correlation). Of the first picture: ``miou`` and ``miou_watch``,
            agreement with the labels as the rewarded and the watched judge see it.
        """
        judged = [self._judge.logits(each) for each in pictures]
        errors = [cross_entropy(logits, labels) for logits in judged]
        terms = {"reward": row_means(_mean(errors), labels)}
        objective = terms["reward"]
        if self._spec.uncertainty:
            doubts = [divergence(one, other) for one, other in (judged, judged[::-1])]
            terms["uncertainty"] = row_means(_mean(doubts), labels)
            objective = row_means(_mean([rectified(*pair) for pair in zip(errors, doubts, strict=True)]), labels)
        loss = self._spec.weight * objective
        if lighting is not None:
            terms["lighting"] = _mean([lighting_error(each, lighting, labels == TOOTH) for each in pictures])
            loss = loss + self._spec.lighting_weight * terms["lighting"]
        return terms | {"loss": loss, "miou": judged_miou(judged[0], labels)} | self._watched(pictures[0], labels)

    @torch.no_grad()
    def _watched(self, pictures: Tensor, labels: Tensor) -> dict[str, Tensor]:
        if self._watch is None:
            return {}
        return {"miou_watch": judged_miou(self._watch.logits(pictures), labels)}


def _mean(values: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(values)).mean(0)
