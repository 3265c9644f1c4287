"""diffusers' own sampling loop for one canvas: its scheduler, its networks, batch one."""

from __future__ import annotations

from typing import Any

import torch
from diffusers.utils.torch_utils import randn_tensor

from dentgen.diffusion.canvas import Canvas
from dentgen.models.bundle import Bundle
from dentgen.models.control import control_residuals
from dentgen.models.schedulers import make_scheduler
from dentgen.spec.sampling import SchedulerName
from tests.diffusion.parts import LATENT


class KeyedNoise:
    """Replaces diffusers' ``randn_tensor``, so that schedulers inject the noise of a canvas."""

    def __init__(self) -> None:
        self.canvas: Canvas | None = None
        self.step = 0

    def __call__(self, shape: Any, **options: Any) -> torch.Tensor:
        if self.canvas is None:  # a scheduler that is being probed
            return randn_tensor(shape, **options)
        return self.canvas.noise.normal("injected", self.step, tuple(shape)[1:])[None]


@torch.no_grad()
def sample_sequentially(
    bundle: Bundle, name: SchedulerName, steps: int, canvas: Canvas, noise: KeyedNoise
) -> torch.Tensor:
    scheduler = make_scheduler(name, bundle.folder)
    scheduler.set_timesteps(steps)
    noise.canvas = canvas
    x = canvas.noise.normal("initial", 0, LATENT)[None] * scheduler.init_noise_sigma
    for k, t in enumerate(scheduler.timesteps):
        noise.step = k
        scaled = scheduler.scale_model_input(x, t)
        predictions = [_predict(bundle, canvas, scaled, t, embeds) for embeds in _prompt_embeds(canvas)]
        scale = canvas.guidance.scale
        combined = (
            predictions[0] if len(predictions) == 1 else predictions[0] + scale * (predictions[1] - predictions[0])
        )
        x = scheduler.step(combined, t, x).prev_sample
    return x[0]


def _prompt_embeds(canvas: Canvas) -> list[torch.Tensor]:
    negative = canvas.guidance.negative
    unconditional = [negative.values] if negative is not None and canvas.guidance.scale != 1 else []
    return [*unconditional, canvas.prompt.values]


def _predict(bundle: Bundle, canvas: Canvas, x: torch.Tensor, t: torch.Tensor, embeds: torch.Tensor) -> torch.Tensor:
    extra: dict[str, Any] = {}
    for control in canvas.controls:
        assert bundle.control is not None
        residuals = control_residuals(bundle.control, control.condition.values[None], t[None], embeds[None])
        scaled = [residual * control.scale for residual in residuals]
        extra = {"down_block_additional_residuals": scaled[:-1], "mid_block_additional_residual": scaled[-1]}
    prediction: torch.Tensor = bundle.unet(x, t, embeds[None], **extra).sample
    return prediction
