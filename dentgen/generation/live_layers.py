"""Layers of a live canvas: what is painted where, and which of several edits counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dentgen.diffusion.keyed_tensor import KeyedTensor
from dentgen.diffusion.regions import Region
from dentgen.errors import CanvasError
from dentgen.generation.regions import cell_mask

Value = TypeVar("Value")
#: A mask in pixels (H, W): booleans, or values in 0..1.
Mask = NDArray[np.bool_] | NDArray[np.floating[Any]]

#: Name of what lies below all layers: the canvas's own prompt.
BACKGROUND: Final = "background"


@dataclass(frozen=True, slots=True, eq=False)
class LiveLayer:
    """A part of a live canvas with a prompt of its own.

    Attributes:
        name: Its name, unique in the canvas.
        prompt: The prompt.
        mask: (H, W) where it is: booleans, or values in 0..1. Soft edges grow as the noise falls.
        strength: Factor on the mask, 0..1: below 1 the layer acts only once the noise is below it.
        prompt_strength: Interpolation from the background's prompt, 0, to the layer's, 1.
        blur: Sigma of a Gaussian blur of the mask, pixels.
        negative: Negative prompt, read with classifier-free guidance alone; "" takes that of the spec.
    """

    name: str
    prompt: str
    mask: Mask
    strength: float = 1.0
    prompt_strength: float = 1.0
    blur: float = 0.0
    negative: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class PaintedMask:
    """A mask in pixels, as it was given, and on the grid of latents.

    Attributes:
        pixels: (H, W) float32 in 0..1.
        latents: (h, w) float32 in 0..1.
    """

    pixels: NDArray[np.float32]
    latents: Tensor

    @classmethod
    def of(cls, name: str, mask: Mask, size: tuple[int, int], cell: int, blur: float = 0.0) -> PaintedMask:
        """Check a mask and copy it, because its owner goes on painting.

        Args:
            name: Name of the layer, for errors.
            mask: (H, W) booleans, or values in 0..1.
            size: Height and width of the canvas, pixels.
            cell: Edge of a latent, pixels.
            blur: Sigma of a Gaussian blur, pixels.

        Raises:
            CanvasError: If it has another size or other values.
        """
        if mask.shape != size:
            raise CanvasError("mask", key=name, found=f"size {mask.shape}", expected=size)
        pixels = np.array(mask, np.float32)
        if not bool(((pixels >= 0) & (pixels <= 1)).all()):
            found = f"values {pixels.min():g}..{pixels.max():g}"
            raise CanvasError("mask", key=name, found=found, expected="0..1")
        latents = torch.from_numpy(np.clip(cell_mask(pixels, blur, cell), 0, 1))
        return cls(pixels, latents)


def check_share(name: str, key: str, value: float | None) -> None:
    """Check a strength.

    Raises:
        CanvasError: If it is not in 0..1.
    """
    if value is not None and not 0 <= value <= 1:
        raise CanvasError(key, key=name, found=value, expected="0..1")


@dataclass(frozen=True, slots=True, eq=False)
class LayerValues:
    """Values of a layer, or of an edit, in which None keeps what is there.

    Attributes:
        prompt: Embeddings.
        mask: The mask.
        strength: Factor on the mask.
        prompt_strength: Interpolation from the background's prompt to the layer's.
        negative: Embeddings of the negative prompt.
    """

    prompt: KeyedTensor | None = None
    mask: PaintedMask | None = None
    strength: float | None = None
    prompt_strength: float | None = None
    negative: KeyedTensor | None = None

    @classmethod
    def of(cls, layer: LiveLayer, size: tuple[int, int], cell: int) -> LayerValues:
        """Those of a layer, without its prompts, which are to be embedded.

        Args:
            layer: The layer.
            size: Height and width of the canvas, pixels.
            cell: Edge of a latent, pixels.

        Raises:
            CanvasError: If a value is not usable.
        """
        check_share(layer.name, "strength", layer.strength)
        check_share(layer.name, "prompt_strength", layer.prompt_strength)
        mask = PaintedMask.of(layer.name, layer.mask, size, cell, layer.blur)
        return cls(None, mask, layer.strength, layer.prompt_strength)


class LastAsked:
    """Which edit set each value.

    A prompt takes longer to be ready than a mask, so edits may become ready in another order than they were asked for:
    of each value, the edit that was asked for last counts.
    """

    def __init__(self) -> None:
        """Nothing was asked for yet."""
        self._edits: dict[str, int] = {}

    def newer(self, number: int, values: Mapping[str, Value]) -> dict[str, Value]:
        """Those of an edit's values, by name, that no later edit has set; they count as set by this one."""
        newer = {name: value for name, value in values.items() if self._edits.get(name, -1) <= number}
        self._edits |= dict.fromkeys(newer, number)
        return newer


@dataclass(slots=True, eq=False)
class LayerState:
    """What a layer is now."""

    prompt: KeyedTensor
    mask: PaintedMask
    strength: float = 1.0
    prompt_strength: float = 1.0
    negative: KeyedTensor | None = None
    _asked: LastAsked = field(default_factory=LastAsked)

    @property
    def scaled(self) -> Tensor:
        """Its mask (h, w) times its strength."""
        return self.strength * self.mask.latents

    def apply(self, number: int, values: LayerValues) -> dict[str, Any]:
        """Take over the values of the edit of this number; returns those that no later edit has set, by name."""
        given = ((each.name, getattr(values, each.name)) for each in fields(values))
        newer = self._asked.newer(number, {name: value for name, value in given if value is not None})
        for name, value in newer.items():
            setattr(self, name, value)
        return newer

    def region(self, share: Tensor) -> Region:
        """The layer as a region of a canvas.

        Args:
            share: How much of each latent the layers above it leave, 0..1.
        """
        mask = self.mask.latents * share
        return Region(self.prompt, mask, self.negative, strength=self.strength, prompt_strength=self.prompt_strength)


def label_map(masks: Iterable[NDArray[np.float32]], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Number (H, W) of the uppermost layer whose mask is over one half, 0 where there is none.

    Args:
        masks: Masks (H, W) in 0..1, the lowest layer's first, whose number is 1.
        size: Height and width, pixels.
    """
    labels = np.zeros(size, np.uint8)
    for number, mask in enumerate(masks, 1):
        labels[mask > 0.5] = number
    return labels
