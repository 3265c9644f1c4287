"""What the loop needs of a recipe. A recipe is a module, so that several workers can keep its gradients equal.

Refuses to know optimisers and data.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor, nn

from dentgen.training.data.rows import Batch


class Recipe(nn.Module, ABC):
    """Trains its own parameters; what is frozen it keeps out of its modules."""

    #: Whether a step leaves some trained parameters without gradient.
    some_unused = False

    @abstractmethod
    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Named losses, each a mean over the rows; ``loss`` is the one minimised."""

    @abstractmethod
    def export(self) -> None:
        """Write the trained part to the bundle; called with averaged weights in place."""

    @abstractmethod
    def preview(self, batch: Batch) -> list[Float[Tensor, "b 3 H W"]]:
        """Columns of a sheet of pictures in [-1, 1]: what went in, what should come out, what does."""
