"""Networks called on so many rows at a time, so that their memory does not grow with the rows of a tick."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dentgen.diffusion.networks import Branches, Denoiser, RowControl, SharedControl


class DenoiserInBatches:
    """A UNet that is called on some rows after the other; the last batch may be smaller."""

    def __init__(self, unet: Denoiser, rows: int) -> None:
        """Take the network, and the rows of a call."""
        self._unet, self._rows = unet, rows

    def __call__(
        self, latents: Tensor, timesteps: Tensor, prompt_embeds: Tensor, residuals: Sequence[Tensor] | None
    ) -> Tensor:
        """As of the network."""
        inputs = [tensor.split(self._rows) for tensor in (latents, timesteps, prompt_embeds)]
        given: Sequence[Sequence[Tensor] | None] = [None] * len(inputs[0])
        if residuals is not None:
            given = _zipped(residuals, self._rows)
        return torch.cat([self._unet(*each) for each in zip(*inputs, given, strict=True)])


class SharedControlInBatches:
    """A control branch of conditions alone, called on some after the other."""

    def __init__(self, control: SharedControl, rows: int) -> None:
        """Take the network, and the conditions of a call."""
        self._control, self._rows = control, rows

    def __call__(self, condition_latents: Tensor, timesteps: Tensor, prompt_embeds: Tensor) -> Sequence[Tensor]:
        """As of the network."""
        inputs = [tensor.split(self._rows) for tensor in (condition_latents, timesteps, prompt_embeds)]
        return _joined([self._control(*each) for each in zip(*inputs, strict=True)])


class RowControlInBatches:
    """A control branch of rows, called on some after the other."""

    def __init__(self, control: RowControl, rows: int) -> None:
        """Take the network, and the rows of a call."""
        self._control, self._rows = control, rows

    @property
    def hint_shape(self) -> tuple[int, int, int]:
        """As of the network."""
        return self._control.hint_shape

    def __call__(self, latents: Tensor, timesteps: Tensor, prompt_embeds: Tensor, hints: Tensor) -> Sequence[Tensor]:
        """As of the network."""
        inputs = [tensor.split(self._rows) for tensor in (latents, timesteps, prompt_embeds, hints)]
        return _joined([self._control(*each) for each in zip(*inputs, strict=True)])


def branches_in_batches(branches: Branches, rows: int) -> Branches:
    """All control branches, called on so many rows or conditions at a time."""
    shared = {name: SharedControlInBatches(each, rows) for name, each in branches.shared.items()}
    return Branches(shared, {name: RowControlInBatches(each, rows) for name, each in branches.per_row.items()})


def _zipped(tensors: Sequence[Tensor], rows: int) -> list[tuple[Tensor, ...]]:
    """Rows of all tensors, batch after batch."""
    return list(zip(*(tensor.split(rows) for tensor in tensors), strict=True))


def _joined(outputs: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """Residuals of all rows, of each level."""
    return [torch.cat(level) for level in zip(*outputs, strict=True)]
