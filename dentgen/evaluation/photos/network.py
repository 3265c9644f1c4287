"""A U-Net on the EfficientNet-Lite0 encoder: per pixel a tooth, a border between teeth, a lesion, a tooth number."""

from __future__ import annotations

from typing import Final, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dentgen.evaluation.photos.tooth_numbers import CHANNELS
from dentgen.models.imagenet import EXITS, ImageNetEncoder

Encoder = Literal["pretrained", "scratch"]
#: Channels of the logits; those of tooth numbers follow.
TOOTH, BORDER, LESION, NUMBERS = 0, 1, 2, 3
_DECODER: Final = (64, 48, 32, 24, 16)
#: The stem and the first blocks stay frozen where they are pretrained, and so do all batch norms.
_FROZEN_BLOCKS: Final = 3
#: Of batch norms from scratch: the published network's 0.01 needs more steps than a short training has.
_MOMENTUM: Final = 0.1


class PhotoNetwork(nn.Module):
    """Logits (b, NUMBERS + CHANNELS, H, W) of images (b, 3, H, W) in 0..1; H and W are multiples of 32."""

    def __init__(self, encoder: Encoder) -> None:
        """Build the network; weights that are not pretrained come from torch's generator."""
        super().__init__()
        self.pretrained = encoder == "pretrained"
        self.encoder = ImageNetEncoder(pretrained=self.pretrained)
        widths = list(reversed(EXITS.values()))
        self.up = nn.ModuleList()
        x = widths[0]
        for skip, out in zip([*widths[1:], 3], _DECODER, strict=True):
            self.up.append(_block(x + skip, out))
            x = out
        self.head = nn.Conv2d(x, NUMBERS + CHANNELS, 1)
        if self.pretrained:
            self.encoder.freeze_first(_FROZEN_BLOCKS)
        else:
            for module in self.encoder.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.momentum = _MOMENTUM

    def forward(self, images: Tensor) -> Tensor:
        """Compute the logits."""
        normalised = self.encoder.normalised(images)
        skips = [normalised, *self.encoder(normalised)]
        x = skips.pop()
        for block, skip in zip(self.up, reversed(skips), strict=True):
            x = F.interpolate(x, size=skip.shape[2:], mode="bilinear", align_corners=False)
            x = block(torch.cat([x, skip], 1))
        logits: Tensor = self.head(x)
        return logits

    def train(self, mode: bool = True) -> PhotoNetwork:
        """Set the mode; pretrained batch norms keep their statistics."""
        super().train(mode)
        if self.pretrained:
            self.encoder.eval()
        return self


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.GroupNorm(8, outputs), nn.ReLU(inplace=True),
        nn.Conv2d(outputs, outputs, 3, padding=1, bias=False), nn.GroupNorm(8, outputs), nn.ReLU(inplace=True),
    )  # fmt: skip
