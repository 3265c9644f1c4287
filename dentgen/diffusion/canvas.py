"""Canvases: the engine's requests, one picture each, and its results."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

from jaxtyping import Bool, Float
from torch import Tensor

from dentgen.diffusion.guidance import Guidance, Row
from dentgen.diffusion.keyed_tensor import KeyedTensor
from dentgen.diffusion.regions import Layers
from dentgen.diffusion.solver import SolverTable
from dentgen.diffusion.step_window import in_window
from dentgen.diffusion.windows import Window
from dentgen.errors import CanvasError


@runtime_checkable
class Noise(Protocol):
    """A canvas's source of noise: a pure function of purpose and step, independent of the order of calls."""

    def normal(self, purpose: str, step: int, shape: tuple[int, ...]) -> Tensor:
        """Standard normal float32 values of ``shape``, on the CPU."""


@dataclass(frozen=True, slots=True, eq=False)
class ControlInput:
    """A condition and the control branch that reads it.

    Attributes:
        branch: Name of one of the engine's branches.
        condition: Scaled condition latents (4, h, w) for a shared branch, hint features (c, h, w) for a per-row branch.
        scale: Factor on the residuals (diffusers' ``controlnet_conditioning_scale``).
        start, end: Control window as fractions of the steps, 0..1 (``control_guidance_start`` and ``_end``).
        where: Further factor (h, w) at each latent; residuals of deeper levels take its mean. None for 1 everywhere.
    """

    branch: str
    condition: KeyedTensor
    scale: float = 1.0
    start: float = 0.0
    end: float = 1.0
    where: Float[Tensor, "h w"] | None = None

    def scale_at(self, step: int, steps: int) -> float:
        """Scale at step ``step`` of ``steps``: ``scale`` inside the window, 0 outside."""
        return self.scale if in_window((self.start, self.end), step, steps) else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Repaint:
    """Inpainting: which part of the image is kept and which is repainted.

    Attributes:
        keep: (h, w), True where the image's latents are kept.
        masked: Scaled latents (4, h, w) of the image with the repainted part blanked, for a nine-channel inpainting
            UNet; None for a four-channel UNet.
    """

    keep: Bool[Tensor, "h w"]
    masked: Float[Tensor, "4 h w"] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Canvas:
    """One picture to sample, with everything that decides it.

    Attributes:
        key: Unique among the canvases in flight.
        noise: Source of the initial and the injected noise.
        table: Solver table; its ``start_signal`` says how much of ``image`` the start contains.
        prompt: Prompt embeddings (tokens, width).
        guidance: Classifier-free guidance.
        controls: At most one input per control branch.
        image: Scaled latents (4, h, w) of the image to start from or to keep parts of.
        repaint: Inpainting mask; None repaints everything.
        layers: Regions with prompts of their own.
        windows: Parts that rows see; none: all of it.
        region_prompts: Embeddings that the rows of every region get; set on creation.
    """

    key: str
    noise: Noise
    table: SolverTable
    prompt: KeyedTensor
    guidance: Guidance = field(default_factory=Guidance)
    controls: tuple[ControlInput, ...] = ()
    image: Float[Tensor, "4 h w"] | None = None
    repaint: Repaint | None = None
    layers: Layers = field(default_factory=Layers)
    windows: tuple[Window, ...] = ()
    region_prompts: tuple[KeyedTensor, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Interpolate prompts once: every tick asks for rows."""
        prompts = tuple(region.words(self.prompt) for region in self.layers.regions)
        object.__setattr__(self, "region_prompts", prompts)

    def rows(self, step: int) -> tuple[Row, ...]:
        """UNet rows of this canvas at a step, in the order in which they are combined."""
        rows = self._layer_rows(step)
        if not self.windows:
            return rows
        return tuple(replace(row, window=window) for window in self.windows for row in rows)

    def _layer_rows(self, step: int) -> tuple[Row, ...]:
        rows = self.guidance.rows(self.prompt, step) if self.layers.background else ()
        for layer, region in enumerate(self.layers.regions, 1):
            guidance = self.guidance if region.negative is None else replace(self.guidance, negative=region.negative)
            *others, last = guidance.rows(self.region_prompts[layer - 1], step)
            rows += (*(replace(row, layer=layer) for row in others), replace(last, layer=layer, counts=True))
        return rows

    @property
    def edited(self) -> bool:
        """Whether the engine restores the kept part of the image after every step."""
        return self.repaint is not None and self.repaint.masked is None

    def check(self) -> None:
        """Check that the canvas is consistent.

        Raises:
            CanvasError: If image latents or a negative prompt are missing, a control branch occurs twice, or a mask,
                bootstrap or guidance of regions is not usable.
        """
        table = self.table
        if self.image is None and (table.start_signal or self.edited):
            raise CanvasError(key=self.key, found="no image latents", expected="image latents to start from or to keep")
        branches = [control.branch for control in self.controls]
        if len(set(branches)) < len(branches):
            raise CanvasError(key=self.key, found=f"control branches {branches}", expected="each branch once")
        self.guidance.check(self.key, table)
        self._check_layers()

    def _check_layers(self) -> None:
        layers = self.layers
        if not (layers.background or layers.regions):
            raise CanvasError(key=self.key, found="neither background nor regions", expected="something to sample")
        for region in layers.regions:
            region.check(self.key)
        if layers.bootstrap is not None:
            layers.bootstrap.check(self.key, self.table)
        leaks = layers.bootstrap is not None and layers.bootstrap.leak > 0
        if leaks and self.guidance.active and self.guidance.method == "full":  # both rows would leak on their own
            expected = "none with guidance full"
            raise CanvasError("leak test of regions", key=self.key, found="guidance full", expected=expected)
        if (layers.regions or self.windows) and self.guidance.sets_reference(0):
            key, expected = self.key, "full or self"
            raise CanvasError("guidance of regions and windows", key=key, found="initialize", expected=expected)


@dataclass(frozen=True, slots=True, eq=False)
class Finished:
    """A finished canvas: its key and clean latents (4, h, w), scaled, float32."""

    key: str
    latents: Float[Tensor, "4 h w"]


@dataclass(frozen=True, slots=True, eq=False)
class Failed:
    """A failed canvas: its key and the error. Other canvases are not affected."""

    key: str
    error: CanvasError


#: The engine's result for one canvas: clean latents (4, h, w), or the error that stopped it.
Sampled = Tensor | CanvasError
