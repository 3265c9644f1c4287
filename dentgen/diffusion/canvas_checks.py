"""What an engine of a given shape can sample: checks of a canvas before it is queued, and of its changes later on."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from dentgen.diffusion.canvas import Canvas
from dentgen.diffusion.networks import Branches, EngineShape
from dentgen.errors import CanvasError


def check_canvas(canvas: Canvas, shape: EngineShape, branches: Branches) -> None:
    """Check that an engine can sample a canvas.

    Raises:
        CanvasError: If the canvas is inconsistent, or has other sizes or more parts than the engine has room for.
    """
    canvas.check()
    _check_slots(canvas, shape, branches)
    _check_sizes(canvas, shape, branches)
    _check_room(canvas, shape)
    _check_weighted(canvas, shape)
    has_masked = canvas.repaint is not None and canvas.repaint.masked is not None
    if bool(shape.mask_channels) != has_masked:
        found = "masked latents" if has_masked else "no masked latents"
        expected_by_unet = f"what a UNet of {shape.channels + shape.mask_channels} input channels takes"
        raise CanvasError("repaint", key=canvas.key, found=found, expected=expected_by_unet)


def check_changed(canvas: Canvas, shape: EngineShape, branches: Branches, step: int) -> None:
    """Check a canvas that has already been queued and has got other layers or control inputs.

    Args:
        canvas: The canvas as it is now.
        shape: The engine's sizes.
        branches: Its control branches.
        step: Step from which on the change acts.

    Raises:
        CanvasError: If prompts, masks or control inputs are not usable, or the background would be seen but has no row.
    """
    canvas.check()
    _check_slots(canvas, shape, branches)
    _check_sizes(canvas, shape, branches)
    _check_weighted(canvas, shape)
    if not canvas.layers.background and not canvas.layers.covers(canvas.table, step):
        found, expected = "latents that no region covers", "full cover, as its own prompt has no row"
        raise CanvasError("layers", key=canvas.key, found=found, expected=expected)


def _check_sizes(canvas: Canvas, shape: EngineShape, branches: Branches) -> None:
    for name, values, expected in _sizes(canvas, shape, branches):
        if values is not None and tuple(values.shape) != expected:
            raise CanvasError(name, key=canvas.key, found=f"shape {tuple(values.shape)}", expected=expected)


def _sizes(
    canvas: Canvas, shape: EngineShape, branches: Branches
) -> Iterator[tuple[str, Tensor | None, tuple[int, ...]]]:
    """Name, values and required shape of every tensor of a canvas."""
    latent, per_row = shape.latent, branches.per_row
    yield "prompt embeddings", canvas.prompt.values, (shape.tokens, shape.width)
    for row in canvas.rows(0):
        yield "prompt embeddings", row.prompt.values, (shape.tokens, shape.width)
    for control in canvas.controls:
        expected = per_row[control.branch].hint_shape if control.branch in per_row else latent
        yield f"condition of {control.branch}", control.condition.values, expected
        yield f"places of {control.branch}", control.where, latent[1:]
    yield "image latents", canvas.image, latent
    for window in canvas.windows:
        yield "weights of a window", window.weight, shape.row_size
        yield "a window", window.crop(torch.empty(latent[1:], device="meta")), shape.row_size
    for region in canvas.layers.regions:
        yield "mask of a region", region.mask, latent[1:]
    if canvas.layers.bootstrap is not None:
        yield "white latents", canvas.layers.bootstrap.white, latent
    if canvas.repaint is not None:
        yield "kept latents", canvas.repaint.keep, latent[1:]
        yield "masked latents", canvas.repaint.masked, latent


def _check_weighted(canvas: Canvas, shape: EngineShape) -> None:
    if not shape.weighted and any(control.where is not None for control in canvas.controls):
        raise CanvasError(key=canvas.key, found="scales by place", expected="an engine with weighted control")


def _check_room(canvas: Canvas, shape: EngineShape) -> None:
    """Reject regions and windows that the engine has no buffers for."""
    most = shape.regions
    if len(canvas.layers.regions) > most:
        found = len(canvas.layers.regions)
        raise CanvasError("regions", key=canvas.key, found=found, expected=f"at most {most}, as the engine has room")
    windowed = shape.row_size != shape.latent_size
    if len(canvas.windows) > (shape.windows if windowed else 0) or (windowed and not canvas.windows):
        expected = f"1 to {shape.windows}" if windowed else "none: rows see whole canvases"
        raise CanvasError("windows", key=canvas.key, found=len(canvas.windows), expected=expected)


def _check_slots(canvas: Canvas, shape: EngineShape, branches: Branches) -> None:
    """Reject a canvas that can never be admitted, as it would block the queue for ever."""
    key, rows = canvas.key, canvas.rows(0)
    for control in canvas.controls:
        if control.branch not in branches.names:
            expected = f"one of {list(branches.names)}"
            raise CanvasError(key=key, found=f"control branch {control.branch}", expected=expected)
    uses_shared = any(control.branch in branches.shared for control in canvas.controls)
    controls = len({(row.window, row.prompt.name) for row in rows}) if uses_shared else 0
    needs = (("row slots", len(rows), shape.slots), ("control slots", controls, shape.control_slots),
             ("history columns", canvas.table.num_columns, shape.columns))  # fmt: skip
    for name, needed, available in needs:
        if needed > available:
            raise CanvasError(f"needed {name}", key=key, found=needed, expected=f"at most {available}")
