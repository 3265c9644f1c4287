"""Small networks with random weights in the engine's protocols: for laws, which hold for every model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dentgen.diffusion.engine import DiffusionEngine
from dentgen.diffusion.keyed_tensor import KeyedTensor
from dentgen.diffusion.networks import Branches, EngineShape

TOKENS, WIDTH = 3, 5


class LocalDenoiser(nn.Module):
    """Two convolutions of 3x3 whose gain and bias come from prompt and timestep: latents see their near neighbours."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.first = nn.Conv2d(4, 8, 3, padding=1, padding_mode="circular")
        self.last = nn.Conv2d(8, 4, 3, padding=1, padding_mode="circular")
        self.prompt = nn.Linear(TOKENS * WIDTH, 8)
        for parameter in self.parameters():
            parameter.data = 0.4 * torch.randn(parameter.shape, generator=generator)
            parameter.requires_grad_(False)

    def forward(
        self, latents: Tensor, timesteps: Tensor, prompts: Tensor, residuals: Sequence[Tensor] | None = None
    ) -> Tensor:
        told = _by_row(self.prompt, prompts.flatten(1))
        shift = told + (timesteps.to(latents) / 1000)[:, None]
        hidden = torch.tanh(_by_row(self.first, latents) + shift[:, :, None, None])
        if residuals is not None:
            hidden = hidden + residuals[0]
        return _by_row(self.last, hidden)


def _by_row(layer: nn.Module, rows: Tensor) -> Tensor:
    """Apply a layer row by row: on some processors a product's bits depend on the row's place in the batch."""
    return torch.cat([layer(row[None]) for row in rows])


class TwoLevelControl:
    """Residuals from condition latents at full size; the second one, at half size, is what the middle block gets."""

    def __call__(self, condition_latents: Tensor, timesteps: Tensor, prompt_embeds: Tensor) -> Sequence[Tensor]:
        full = (
            torch.cat([condition_latents, -condition_latents], 1)
            * (1 + prompt_embeds.mean((1, 2)))[:, None, None, None]
        )
        return [full, nn.functional.avg_pool2d(full, 2)]


def engine(
    *, slots: int = 8, size: int = 16, regions: int = 3, centred: bool = False, controlled: bool = False,
    unet: LocalDenoiser | None = None,
) -> DiffusionEngine:  # fmt: skip
    shape = EngineShape(
        slots, slots, (size, size), TOKENS, WIDTH, columns=16, weighted=controlled, regions=regions, centred=centred
    )
    branches = Branches(shared={"control": TwoLevelControl()} if controlled else {})
    return DiffusionEngine(unet or LocalDenoiser(), branches, shape, torch.device("cpu"), torch.float32)


def words(number: int) -> KeyedTensor:
    generator = torch.Generator().manual_seed(number)
    return KeyedTensor(f"prompt {number}", torch.randn(TOKENS, WIDTH, generator=generator))
