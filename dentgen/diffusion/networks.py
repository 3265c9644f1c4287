"""Protocols of the networks that the engine calls, and the fixed sizes of its batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

#: Channels of Stable Diffusion's latents.
LATENT_CHANNELS: Final = 4
#: Additional input channels of an inpainting UNet: the mask and the masked image's latents.
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
        """Predict noise or velocity, in the dtype of ``latents``; ``residuals`` are those of the control branches."""


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
    """A control branch that sees the noisy latents (ControlNet), so it runs on every row."""

    @property
    def hint_shape(self) -> tuple[int, int, int]:
        """Shape (c, h, w) of a condition's hint features, which are the same at every step."""

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
    """An engine's control branches by name; several names may refer to the same network.

    Attributes:
        shared: Branches that run once per distinct condition, step and prompt.
        per_row: Branches that run on every row.
    """

    shared: Mapping[str, SharedControl] = field(default_factory=dict)
    per_row: Mapping[str, RowControl] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all branches, in the order in which residuals are added."""
        return tuple(sorted({*self.shared, *self.per_row}))


@dataclass(frozen=True, slots=True)
class EngineShape:
    """The engine's fixed sizes. Each of them can change the bits of a result.

    Attributes:
        slots: UNet rows per tick.
        control_slots: Rows per tick of every shared branch; a canvas waits until its control inputs find free ones.
        latent_size: Height and width of a canvas's latents.
        tokens, width: Shape of prompt embeddings.
        columns: Latents kept per canvas; at least the largest ``SolverTable.num_columns``.
        channels: Latent channels.
        mask_channels: Additional input channels of an inpainting UNet (mask and masked image), 0 or 5.
        weighted: Whether scales of control may differ within a picture (``ControlInput.where``).
        regions: Regions that a canvas may have.
        centred: Whether regions may be moved to the centre of the picture (``Bootstrap.stride``).
        window: Height and width of what one row sees of a canvas; None: all of it.
        windows: Windows that a canvas may have.
        canvases: Canvases in flight at most; None: as many as there are rows.
    """

    slots: int
    control_slots: int
    latent_size: tuple[int, int]
    tokens: int
    width: int
    columns: int
    channels: int = LATENT_CHANNELS
    mask_channels: int = 0
    weighted: bool = False
    regions: int = 0
    centred: bool = False
    window: tuple[int, int] | None = None
    windows: int = 1
    canvases: int | None = None

    @property
    def canvas_slots(self) -> int:
        """Canvases in flight at most."""
        return self.slots if self.canvases is None else self.canvases

    @property
    def max_rows(self) -> int:
        """Upper bound on the rows of one canvas: two for its own prompt and for each region, in every window."""
        return 2 * (1 + self.regions) * self.windows

    @property
    def layered(self) -> bool:
        """Whether a canvas may have more than its own prompt's rows."""
        return bool(self.regions) or self.row_size != self.latent_size

    @property
    def row_size(self) -> tuple[int, int]:
        """Height and width of the latents of a row."""
        return self.window or self.latent_size

    @property
    def row_latent(self) -> tuple[int, int, int]:
        """Shape (channels, h, w) of the latents of a row."""
        return self.channels, *self.row_size

    @property
    def latent(self) -> tuple[int, int, int]:
        """Shape (channels, h, w) of one canvas's latents."""
        return self.channels, *self.latent_size
