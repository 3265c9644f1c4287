"""What students are distilled from: DDIM steps against diffusers, the guided teacher, the draws."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler

from dentgen.training.distillation import Distillation
from dentgen.training.miniature import SCHEDULER_CONFIG
from dentgen.training.preview import predict_noise
from tests.training.runs import CPU, train_spec, training_data


@pytest.fixture(scope="module")
def spec(phantoms: str, family: Path) -> Any:
    return train_spec(phantoms, family, "phased-lora", batch=20, ladder=20, guidance=[2, 3])


@pytest.fixture(scope="module")
def shared(spec: Any) -> Distillation:
    return Distillation(spec, CPU)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_ddim_steps_are_those_of_diffusers(shared: Distillation, steps: int) -> None:
    scheduler = DDIMScheduler.from_config(SCHEDULER_CONFIG)
    scheduler.set_timesteps(steps)
    starts = [int(step) for step in scheduler.timesteps]
    rng = torch.Generator().manual_seed(0)
    for start, end in zip(starts, [*starts[1:], 0], strict=True):
        latents, noise = (torch.randn(2, 4, 8, 8, generator=rng) for _ in range(2))
        expected = scheduler.step(noise, start, latents).prev_sample
        stepped = shared.ddim_step(latents, noise, torch.tensor([start] * 2), torch.tensor([end] * 2))
        torch.testing.assert_close(stepped, expected, rtol=1e-4, atol=1e-4)


def test_a_step_to_the_same_timestep_is_the_identity(shared: Distillation) -> None:
    latents, noise, there = torch.randn(3, 4, 8, 8), torch.randn(3, 4, 8, 8), torch.tensor([0, 499, 999])
    torch.testing.assert_close(shared.ddim_step(latents, noise, there, there), latents, rtol=1e-5, atol=1e-5)


def test_guidance_is_the_scale_of_diffusers(shared: Distillation, spec: Any) -> None:
    """uncond + g (cond - uncond) for every row; 1 is the plain prediction, bit for bit."""
    shown, times = shared.shown(training_data(spec).batch(0, 0, 2)), torch.tensor([700, 200])
    latents, residuals = torch.randn(2, 4, 8, 8), shared.residuals(times, shown)
    assert not torch.equal(shown.embeds, shown.empty)
    with torch.no_grad():
        plain = predict_noise(shared._teacher, latents, times, shown.embeds, residuals)
        unprompted = shared.networks.residuals(shown.condition, times, shown.empty)
        unconditional = predict_noise(shared._teacher, latents, times, shown.empty, unprompted)
    assert torch.equal(shared.teacher_noise(latents, times, shown, residuals, torch.ones(2)), plain)
    guided = shared.teacher_noise(latents, times, shown, residuals, torch.tensor([1.0, 3.0]))
    assert torch.equal(guided[0], plain[0])
    torch.testing.assert_close(guided[1], unconditional[1] + 3 * (plain[1] - unconditional[1]))


def test_timesteps_are_rungs_of_the_ladder(shared: Distillation, spec: Any) -> None:
    jump = shared.draw(training_data(spec).batch(0, 0, 20), spec)
    assert {(int(step) + 1) % 50 for step in jump.start} == {0}
    assert torch.equal(jump.end, (jump.start - 50).clamp_min(0))
    assert bool(((jump.guidance >= 2) & (jump.guidance <= 3)).all())
    assert len(set(jump.start.tolist())) > 5


def test_rows_draw_the_same_in_any_part_of_a_step(shared: Distillation, spec: Any) -> None:
    data, clean = training_data(spec), torch.zeros(4, 4, 8, 8)
    whole, half = data.batch(3, 0, 4), data.batch(3, 2, 2)
    assert torch.equal(shared.draw(whole, spec).start[2:], shared.draw(half, spec).start)
    times = torch.full((4,), 500)
    assert torch.equal(shared.noisy(whole, clean, times)[2:], shared.noisy(half, clean[2:], times[2:]))
    assert not torch.equal(shared.noisy(whole, clean, times), shared.noisy(whole, clean, times, "other"))
