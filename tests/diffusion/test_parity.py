"""Latents of mixed batches against diffusers' own schedulers and networks, one picture at a time."""

from __future__ import annotations

import importlib
from typing import Any, get_args

import pytest
import torch
from diffusers.utils.torch_utils import randn_tensor

from dentgen.diffusion.canvas import Canvas
from dentgen.diffusion.guidance import Guidance
from dentgen.models.bundle import Bundle
from dentgen.models.control import control_residuals
from dentgen.models.schedulers import make_scheduler
from dentgen.seeding import NoiseKey
from dentgen.spec.build import SchedulerName
from tests.diffusion.parts import LATENT, PROMPTS, build_engine, controlled, latents, prompt, simple, table_of

NAMES: tuple[SchedulerName, ...] = get_args(SchedulerName)


class KeyedNoise:
    """Serves a canvas's own noise to diffusers schedulers, which draw theirs from a generator."""

    def __init__(self) -> None:
        self.canvas: Canvas | None = None
        self.step = 0

    def __call__(self, shape: Any, **options: Any) -> torch.Tensor:
        if self.canvas is None:  # a scheduler that is being probed
            return randn_tensor(shape, **options)
        return self.canvas.noise.normal("injected", self.step, tuple(shape)[1:])[None]


@pytest.fixture
def keyed_noise(monkeypatch: pytest.MonkeyPatch) -> KeyedNoise:
    noise = KeyedNoise()
    for module in ("lcm", "ddpm", "euler_ancestral_discrete"):
        scheduling = importlib.import_module(f"diffusers.schedulers.scheduling_{module}")
        monkeypatch.setattr(scheduling, "randn_tensor", noise)
    return noise


@torch.no_grad()
def sequential(bundle: Bundle, name: SchedulerName, steps: int, canvas: Canvas, noise: KeyedNoise) -> torch.Tensor:
    """diffusers' own loop for one canvas: its scheduler, its networks, batch one."""
    scheduler = make_scheduler(name, bundle.folder)
    scheduler.set_timesteps(steps)
    noise.canvas = canvas
    x = canvas.noise.normal("initial", 0, LATENT)[None] * scheduler.init_noise_sigma
    for k, t in enumerate(scheduler.timesteps):
        noise.step = k
        scaled = scheduler.scale_model_input(x, t)
        predicted = [guided(bundle, canvas, scaled, t, embeds) for embeds in prompt_encoder(canvas)]
        scale = canvas.guidance.scale
        combined = predicted[0] if len(predicted) == 1 else predicted[0] + scale * (predicted[1] - predicted[0])
        x = scheduler.step(combined, t, x).prev_sample
    return x[0]


def prompt_encoder(canvas: Canvas) -> list[torch.Tensor]:
    negative = canvas.guidance.negative
    guided_by = [negative.values] if negative is not None and canvas.guidance.scale != 1 else []
    return [*guided_by, canvas.prompt.values]


def guided(bundle: Bundle, canvas: Canvas, x: torch.Tensor, t: torch.Tensor, embeds: torch.Tensor) -> torch.Tensor:
    extra: dict[str, Any] = {}
    for control in canvas.controls:
        found = control_residuals(bundle.control, control.condition.values[None], t[None], embeds[None])  # type: ignore[arg-type]
        scaled = [residual * control.scale for residual in found]
        extra = {"down_block_additional_residuals": scaled[:-1], "mid_block_additional_residual": scaled[-1]}
    predicted: torch.Tensor = bundle.unet(x, t, embeds[None], **extra).sample
    return predicted


def check(bundle: Bundle, plans: list[tuple[SchedulerName, int, Canvas]], noise: KeyedNoise) -> None:
    columns = max(canvas.table.num_columns for _, _, canvas in plans)
    found = build_engine(bundle, slots=8, control_slots=4, columns=columns).run(canvas for _, _, canvas in plans)
    assert sorted(found) == sorted(canvas.key for _, _, canvas in plans)
    for name, steps, canvas in plans:
        expected = sequential(bundle, name, steps, canvas, noise)
        error = float((latents(found[canvas.key]) - expected).norm() / expected.norm())
        assert error < 1e-4, f"{canvas.key}: {name} {steps}: {error:.1e}"


def test_mixed_batch_equals_sequential_diffusers(miniature: Bundle, keyed_noise: KeyedNoise) -> None:
    """Keys, prompts, conditions, scales, schedulers, step counts and guidance all differ within one batch."""
    plans: list[tuple[SchedulerName, int, int | None, str, float, float]] = [
        ("unipc", 4, 0, PROMPTS[0], 1.0, 1.0),
        ("unipc", 4, 0, PROMPTS[0], 1.0, 1.0),
        ("unipc", 8, 1, PROMPTS[1], 1.0, 0.7),
        ("lcm", 4, 1, PROMPTS[0], 1.0, 1.0),
        ("ddim", 12, 2, PROMPTS[2], 1.0, 1.0),
        ("dpmpp_2m_karras", 4, 2, PROMPTS[1], 3.0, 1.0),
        ("euler_ancestral", 6, None, PROMPTS[0], 2.0, 1.0),
        ("heun", 3, 3, PROMPTS[0], 1.0, 1.0),
    ]
    made = []
    for number, (name, steps, control, text, scale, control_scale) in enumerate(plans):
        canvas = simple(
            miniature,
            number,
            None,
            table_of(miniature, name, steps),
            noise=NoiseKey(7, f"record {number // 2}", number),
            prompt=prompt(miniature, text),
            guidance=Guidance(scale, "full", prompt(miniature, "")),
            controls=() if control is None else controlled(control, control_scale),
        )
        made.append((name, steps, canvas))
    check(miniature, made, keyed_noise)


@pytest.mark.parametrize("steps", [1, 2, 3, 5, *(pytest.param(steps, marks=pytest.mark.slow) for steps in (9, 20, 50))])
def test_every_scheduler_in_one_batch(miniature: Bundle, keyed_noise: KeyedNoise, steps: int) -> None:
    plans = [
        (name, steps, simple(miniature, n, n % 3, table_of(miniature, name, steps))) for n, name in enumerate(NAMES)
    ]
    check(miniature, plans, keyed_noise)
