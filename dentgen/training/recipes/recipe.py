"""The interface between a recipe and the loop; a recipe is a module, so that DDP can synchronise its gradients."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from dentgen.training.data.rows import Batch


class Recipe(nn.Module, ABC):
    """Trains its own parameters; frozen networks are not registered as its submodules (``Unregistered``)."""

    #: Steps after which every trained parameter has had a gradient; more than 1 if steps train parts in turn.
    cycle = 1
    #: Figures of a share of the rows, by name, and the name of that share among the losses; the log shows their means
    #: over those rows.
    shares: Mapping[str, str] = {}

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """Groups of trained parameters for the optimiser, each with a learning rate of its own or this one."""
        return [{"params": [p for p in self.parameters() if p.requires_grad], "lr": learning_rate}]

    def prepare(self, rank: int = 0, count: int = 1) -> None:
        """Make what a run needs before its first step; every worker calls it, and an export without training does not.

        Args:
            rank: The worker's number.
            count: Number of workers.
        """

    @abstractmethod
    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Scalar losses by name, each a mean over the rows; ``loss`` is minimised."""

    @abstractmethod
    def export(self) -> None:
        """Write the trained part to the bundle; called while the averaged weights are in place."""

    @abstractmethod
    def preview(self, batch: Batch) -> list[Float[Tensor, "b 3 H W"]]:
        """Columns of a preview, images in [-1, 1]: input, target or control image, output."""


def over_shares(means: Mapping[str, float], shares: Mapping[str, str]) -> dict[str, float]:
    """Turn means over all rows into means over the rows that count; a figure of no row is left out.

    Args:
        means: Mean losses by name; rows that do not count contribute 0.
        shares: ``Recipe.shares``.
    """
    return {
        name: value / means[shares[name]] if name in shares else value
        for name, value in means.items()
        if name not in shares or means[shares[name]] > 0
    }
