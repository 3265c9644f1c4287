"""What the engine asks of networks, and the sizes that it fixes for them. Refuses to know how networks are loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

#: Channels of Stable Diffusion's latents.
LATENT_CHANNELS: Final = 4
#: What an inpainting UNet takes beside them: the mask and the masked picture.
MASK_CHANNELS: Final = 1 + LATENT_CHANNELS


@runtime_checkable
class Denoiser(Protocol):
    """A UNet as the engine calls it."""

    def __call__(
        self,
        latents: Float[Tensor, "row channels h w"],
        timesteps: Float[Tensor, " row"],
        prompt_embeds: Float[Tensor, "row tokens width"],
        residuals: Sequence[Tensor] | None,
    ) -> Float[Tensor, "row 4 h w"]:
        """The model's prediction."""


@runtime_checkable
class SharedControl(Protocol):
    """A control branch that never sees the noisy latents (ctrLoRA): rows of equal condition, step and prompt share."""

    def __call__(
        self,
        condition_latents: Float[Tensor, "control 4 h w"],
        timesteps: Float[Tensor, " control"],
        prompt_embeds: Float[Tensor, "control tokens width"],
    ) -> Sequence[Tensor]:
        """Residuals, one tensor per skip connection, the middle block's last."""


@runtime_checkable
class RowControl(Protocol):
    """A control branch that sees the noisy latents (ControlNet), so every row has its own."""

    @property
    def hint_shape(self) -> tuple[int, int, int]:
        """Shape (c, h, w) of a condition's hint features; they do not depend on the step."""

    def __call__(
        self,
        latents: Float[Tensor, "row 4 h w"],
        timesteps: Float[Tensor, " row"],
        prompt_embeds: Float[Tensor, "row tokens width"],
        hints: Float[Tensor, "row c h w"],
    ) -> Sequence[Tensor]:
        """Residuals, one tensor per skip connection, the middle block's last."""


@dataclass(frozen=True, slots=True)
class Branches:
    """An engine's control branches by name; one network may stand under several names.

    Attributes:
        shared: Branches that run once for rows that agree.
        per_row: Branches that run for every row.
    """

    shared: Mapping[str, SharedControl] = field(default_factory=dict)
    per_row: Mapping[str, RowControl] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Every branch, in the order in which residuals are added."""
        return tuple(sorted({*self.shared, *self.per_row}))


@dataclass(frozen=True, slots=True)
class EngineShape:
    """Every size that decides the bits of a result.

    Attributes:
        slots: UNet rows per tick.
        control_slots: Rows per tick of every shared branch; a canvas waits while its control input finds none.
        latent_size: Edge of the latents.
        tokens, width: Shape of prompt embeddings.
        columns: Latents kept per canvas; at least the largest ``SolverTable.num_columns``.
        channels: Latent channels.
        mask_channels: Further input channels of an inpainting UNet (mask and masked picture), 0 or 5.
    """

    slots: int
    control_slots: int
    latent_size: int
    tokens: int
    width: int
    columns: int
    channels: int = LATENT_CHANNELS
    mask_channels: int = 0

    @property
    def latent(self) -> tuple[int, int, int]:
        """Shape of one canvas's latents."""
        return self.channels, self.latent_size, self.latent_size
