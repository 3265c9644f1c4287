"""A frozen judge in training: what it sees in pictures of any size."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from dentgen.errors import SpecError
from dentgen.models.judges import Judges
from dentgen.spec.train_reward import JudgeName
from dentgen.training.frozen_networks import Unregistered, freeze


class FrozenJudge:
    """One of several judges; gradients reach the pictures, never its weights."""

    def __init__(self, judges: Judges, place: str, key: str, name: JudgeName) -> None:
        """Freeze a judge.

        Args:
            judges: All judges of a place.
            place: Where they are from.
            key: The key of the spec that names the judge.
            name: Its name.

        Raises:
            SpecError: If there is no judge of that name.
        """
        if name not in judges.networks:
            raise SpecError(key=key, found=f"no {name} in {place}", expected=f"one of {sorted(judges.networks)}")
        self._edge = judges.size
        self._judge: Unregistered[nn.Module] = Unregistered(freeze(judges.networks[name], judges.device))

    @property
    def net(self) -> nn.Module:
        """The network."""
        return self._judge.net

    def logits(self, pictures: Float[Tensor, "n 3 H W"]) -> Float[Tensor, "n c H W"]:
        """What it sees in pictures in [-1, 1], at their size; it looks at the size that it learnt at."""
        own, size = (self._edge, self._edge), pictures.shape[-2:]
        if size == own:
            seen: Tensor = self.net(pictures)
            return seen
        resized = F.interpolate(pictures, own, mode="bilinear", align_corners=False, antialias=True)
        return F.interpolate(self.net(resized), size, mode="bilinear", align_corners=False)

    @torch.no_grad()
    def labels(self, pictures: Float[Tensor, "n 3 H W"]) -> Tensor:
        """(n, H, W) int64 classes that it sees."""
        return self.logits(pictures).argmax(1)
