"""Solver tables against the schedulers that they were read from."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
    PNDMScheduler,
    UniPCMultistepScheduler,
)

from dentgen.diffusion.solver import SolverTable, probe_solver
from dentgen.errors import SolverError

CONFIG = {
    "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
}  # fmt: skip


def model(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """A model that is not linear, so that a wrong coefficient anywhere shows."""
    return torch.tanh(1.3 * x + torch.sin(3 * x.roll(1, -1)) + float(t) / 700)


def sequential(scheduler: Any, steps: int, noise: torch.Tensor, seed: int) -> torch.Tensor:
    scheduler.set_timesteps(steps)
    generator = torch.Generator().manual_seed(seed)
    x = noise * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        extra = {} if isinstance(scheduler, (UniPCMultistepScheduler, PNDMScheduler)) else {"generator": generator}
        x = scheduler.step(model(scheduler.scale_model_input(x, t), t), t, x, **extra).prev_sample
    return x


def by_table(table: SolverTable, noise: torch.Tensor, seed: int, draws: list[int]) -> torch.Tensor:
    """Run the table; ``draws`` are the steps at which the scheduler draws noise, used or not."""
    generator = torch.Generator().manual_seed(seed)
    injected = {step: torch.randn(noise.shape, generator=generator, dtype=noise.dtype) for step in draws}
    x = noise * table.init_noise_sigma
    columns = [x]
    for k in range(table.num_steps):
        columns.append(model(x * table.input_scale[k], table.timesteps[k]))
        padded = [
            *columns,
            *[torch.zeros_like(x)] * (table.num_steps - k - 1),
            *(injected[s] for s in table.noise_steps),
        ]
        x = torch.tensordot(table.coefficients[k], torch.stack(padded), dims=1)
    return x


@pytest.mark.parametrize(
    ("scheduler", "steps", "tolerance"),
    [
        (UniPCMultistepScheduler, 4, 1e-12),
        (UniPCMultistepScheduler, 8, 1e-12),
        (DDIMScheduler, 20, 1e-12),
        (LCMScheduler, 4, 1e-12),
        (DDPMScheduler, 8, 1e-12),
        (PNDMScheduler, 8, 1e-12),
        (DPMSolverMultistepScheduler, 6, 1e-5),
        (EulerDiscreteScheduler, 6, 1e-5),
        (EulerAncestralDiscreteScheduler, 6, 1e-5),
    ],
)
def test_table_equals_scheduler(scheduler: Any, steps: int, tolerance: float) -> None:
    def make() -> Any:
        return scheduler.from_config({**CONFIG, "clip_sample": False})

    table = probe_solver(make(), steps)
    noise = torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    expected = sequential(make(), steps, noise, seed=9)
    draws = list(range(table.num_steps)) if scheduler is EulerAncestralDiscreteScheduler else list(table.noise_steps)
    found = by_table(table, noise, seed=9, draws=draws)
    assert float((found - expected).norm() / expected.norm()) < tolerance


def test_unipc_check_values() -> None:
    """The sigma column of UniPC at 4 trailing steps, worked out by hand from alphas_cumprod."""
    table = probe_solver(UniPCMultistepScheduler.from_config({**CONFIG, "timestep_spacing": "trailing"}), 4)
    assert table.timesteps.tolist() == [999, 749, 499, 249]
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    abar = torch.cumprod(1 - betas, 0)
    # the last step lands on x0 = (x - sigma e) / alpha: its own prediction enters with -sigma / alpha
    sigma_over_alpha = ((1 - abar[249]) / abar[249]) ** 0.5
    assert float(table.coefficients[-1, 4]) == pytest.approx(-float(sigma_over_alpha), rel=1e-5)


def test_clipping_is_refused() -> None:
    with pytest.raises(SolverError, match="clip_sample"):
        probe_solver(DDIMScheduler.from_config({**CONFIG, "clip_sample": True}), 4)


def test_settings_without_finite_coefficients_are_refused() -> None:
    scheduler = UniPCMultistepScheduler.from_config({**CONFIG, "solver_type": "bh1", "final_sigmas_type": "zero"})
    with pytest.raises(SolverError, match="not finite"):
        probe_solver(scheduler, 4)


def test_a_scheduler_that_is_not_linear_is_refused() -> None:
    class Squaring(DDIMScheduler):  # type: ignore[misc]
        def step(self, model_output: Any, timestep: Any, sample: Any, **extra: Any) -> Any:
            result = super().step(model_output, timestep, sample, **extra)
            result.prev_sample = result.prev_sample + 0.01 * model_output**2
            return result

    with pytest.raises(SolverError, match="not linear"):
        probe_solver(Squaring.from_config({**CONFIG, "clip_sample": False}), 4)
