"""Recipe ``judge``: a segmenter of background, gingiva and tooth, for the quality gate and for evaluations."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from dentgen.conditions.labels import IGNORE, colour_segmentation
from dentgen.models.judge_networks import judge_input, to_channels_last
from dentgen.models.judges import NETWORKS, write_judge
from dentgen.quality.photometric import in_other_light
from dentgen.seeding import fresh_weights, numpy_generator
from dentgen.spec.train_recipes import JudgeSpec
from dentgen.training.data.rows import Batch
from dentgen.training.recipes.recipe import Recipe


class JudgeRecipe(Recipe):
    """Trains ``bundle/unet.safetensors`` or ``bundle/dilated.safetensors``."""

    def __init__(self, spec: JudgeSpec, device: torch.device) -> None:
        """Start from fresh weights."""
        super().__init__()
        self._spec, self._device = spec, device
        with fresh_weights(spec.seed, "weights", "judge", spec.network):
            network = to_channels_last(NETWORKS[spec.network]())
        self.network = network.to(device).train()

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy and accuracy of one batch; pixels of other classes do not count."""
        logits = self.network(judge_input(self._pictures(batch)).to(self._device))
        truth = torch.from_numpy(batch.seg.astype(np.int64)).to(self._device)
        known = truth != IGNORE
        right = (logits.argmax(1) == truth)[known].float().mean()
        return {"loss": F.cross_entropy(logits, truth, ignore_index=IGNORE), "accuracy": right.detach()}

    def export(self) -> None:
        """Write the judge, weights in fp16."""
        write_judge(self._spec.bundle, self._spec.network, self.network, self._spec.conditions.size)

    @torch.no_grad()
    def preview(self, batch: Batch) -> list[Float[Tensor, "b 3 H W"]]:
        """Image, labels, what the judge sees."""
        judged = self.network(judge_input(batch.photos).to(self._device)).argmax(1).to(torch.uint8).cpu().numpy()
        maps = [colour_segmentation(np.where(seg == IGNORE, 0, seg).astype(np.uint8)) for seg in (batch.seg, judged)]
        return [judge_input(pictures) for pictures in (batch.photos, *maps)]

    def _pictures(self, batch: Batch) -> NDArray[np.uint8]:
        if not self._spec.photometric:
            return batch.photos
        seed, first = self._spec.seed, batch.first
        draws = [numpy_generator(seed, "photometric", batch.step, first + i) for i in range(len(batch))]
        return np.stack([in_other_light(row.photo, rng) for row, rng in zip(batch.rows, draws, strict=True)])
