"""Residuals of control nets on fixed inputs, and their comparison."""

from __future__ import annotations

import torch

from dentgen.models.control import control_residuals

_RNG = torch.Generator().manual_seed(0)
INPUTS = (
    torch.randn(2, 4, 16, 16, generator=_RNG),
    torch.tensor([999.0, 249.0]),
    torch.randn(2, 77, 128, generator=_RNG),
)


@torch.no_grad()
def residuals(control: torch.nn.Module) -> list[torch.Tensor]:
    return control_residuals(control, *INPUTS)


def equal(one: list[torch.Tensor], other: list[torch.Tensor], tolerance: float = 0.0) -> bool:
    return all(
        float((a - b).abs().max()) <= tolerance * float(b.abs().max() + 1e-9) for a, b in zip(one, other, strict=True)
    )
