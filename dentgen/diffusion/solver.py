"""Solver tables: a diffusers scheduler turned into numbers, by probing the scheduler itself.

A scheduler that is linear in (x_T, model outputs e_j, injected noise n_j) is one matrix per step count:

    x_{k+1} = A_k x_T + sum_{j<=k} W_kj e_j + sum_{j<=k} V_kj n_j

Unit impulses go through the scheduler in float64 and the coefficients are read off; nothing is re-derived by hand. A
row
of the table then advances any canvas at any step, so canvases at different steps of different schedules share one tick.
Refuses to know how schedulers are built: it probes any object with ``set_timesteps``, ``scale_model_input`` and
``step``.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, Final

import torch
from jaxtyping import Float
from torch import Tensor

from dentgen.errors import SolverError

_NOISE_SAMPLES: Final = 256
_TOLERANCE: Final = 1e-5
_NON_LINEAR_OPTIONS: Final = ("thresholding", "clip_sample")


@dataclass(frozen=True, slots=True, eq=False)
class SolverTable:
    """One scheduler at one step count, as coefficients.

    Attributes:
        name: For messages and provenance.
        timesteps: Training timestep of each model call; some schedulers use fractions.
        input_scale: Factor on the latents before each model call.
        init_noise_sigma: Factor on standard normal noise that gives x_T.
        coefficients: Row k gives x_{k+1} from the columns x_T, e_0 .. e_{K-1}, then one column per injected noise.
        noise_steps: Steps after which the scheduler injects fresh noise, in column order.
    """

    name: str
    timesteps: Float[Tensor, " steps"]
    input_scale: Float[Tensor, " steps"]
    init_noise_sigma: float
    coefficients: Float[Tensor, "steps columns"]
    noise_steps: tuple[int, ...]

    @property
    def num_steps(self) -> int:
        """Model calls per canvas."""
        return len(self.timesteps)

    @property
    def num_columns(self) -> int:
        """Latents that a canvas keeps: x_T, every prediction, every injected noise."""
        return int(self.coefficients.shape[1])


def probe_solver(scheduler: Any, num_steps: int, name: str = "") -> SolverTable:
    """Read a scheduler's solver table.

    Args:
        scheduler: A diffusers scheduler; it is run and left in an undefined state.
        num_steps: Inference steps.
        name: Name for messages; the scheduler's class by default.

    Raises:
        SolverError: If the scheduler is not linear, or its coefficients are not finite at this step count.
    """
    name = name or type(scheduler).__name__
    for option in _NON_LINEAR_OPTIONS:
        if getattr(scheduler.config, option, False):
            raise SolverError(f"{name}: {option}=True clips the prediction and is not linear; set it to False")
    timesteps, scale = _schedule(scheduler, num_steps)
    steps = len(timesteps)
    noise, noise_steps = _noise_columns(scheduler, num_steps, steps)
    table = SolverTable(
        name=f"{name}-{num_steps}",
        timesteps=timesteps,
        input_scale=scale,
        init_noise_sigma=float(scheduler.init_noise_sigma),
        coefficients=torch.cat([_impulse_columns(scheduler, num_steps, steps), noise], 1),
        noise_steps=noise_steps,
    )
    if not bool(torch.isfinite(table.coefficients).all()):
        raise SolverError(f"{table.name}: coefficients are not finite; this setting divides by a zero sigma")
    _check_linear(scheduler, num_steps, table)
    return table


def _trajectory(
    scheduler: Any, num_steps: int, start: Tensor, outputs: Tensor, seed: int
) -> tuple[Tensor, list[Tensor]]:
    """Run the scheduler on given model outputs: every x_{k+1}, and the noise generator's state before every step."""
    scheduler.set_timesteps(num_steps)
    generator = torch.Generator().manual_seed(seed)
    takes_generator = "generator" in inspect.signature(scheduler.step).parameters
    x, visited, states = start, [], []
    for k, t in enumerate(scheduler.timesteps):
        states.append(generator.get_state())
        extra = {"generator": generator} if takes_generator else {}
        scheduler.scale_model_input(x, t)  # some schedulers find their step index here
        x = scheduler.step(outputs[k], t, x, **extra).prev_sample
        visited.append(x)
    states.append(generator.get_state())
    return torch.stack(visited), states


def _schedule(scheduler: Any, num_steps: int) -> tuple[Tensor, Tensor]:
    scheduler.set_timesteps(num_steps)
    one = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    scales = []
    for t in scheduler.timesteps:
        scales.append(float(scheduler.scale_model_input(one, t)))
        scheduler.step(torch.zeros_like(one), t, one)
    return scheduler.timesteps.detach().double(), torch.tensor(scales, dtype=torch.float64)


def _impulse_columns(scheduler: Any, num_steps: int, steps: int) -> Tensor:
    """Columns of x_T and of every model output: batch element i carries the unit impulse of column i."""
    start = torch.zeros(steps + 1, 1, 1, 1, dtype=torch.float64)
    start[0] = 1
    outputs = torch.zeros(steps, steps + 1, 1, 1, 1, dtype=torch.float64)
    for k in range(steps):
        outputs[k, k + 1] = 1
    with_noise, _ = _trajectory(scheduler, num_steps, start, outputs, seed=0)
    only_noise, _ = _trajectory(scheduler, num_steps, torch.zeros_like(start), torch.zeros_like(outputs), seed=0)
    return (with_noise - only_noise).reshape(steps, steps + 1)


def _noise_columns(scheduler: Any, num_steps: int, steps: int) -> tuple[Tensor, tuple[int, ...]]:
    """Run on zeros with a known generator: what comes out is injected noise alone, solved for its factors."""
    zeros = torch.zeros(_NOISE_SAMPLES, 1, 1, 1, dtype=torch.float64)
    visited, states = _trajectory(scheduler, num_steps, zeros, zeros.expand(steps, *zeros.shape), seed=1)
    drawn = [k for k in range(steps) if not torch.equal(states[k], states[k + 1])]
    noises = []
    for k in drawn:
        generator = torch.Generator()
        generator.set_state(states[k])
        noises.append(torch.randn(zeros.shape, generator=generator, dtype=torch.float64).reshape(-1))
    if not drawn:
        return torch.zeros(steps, 0, dtype=torch.float64), ()
    basis = torch.stack(noises, 1)
    factors = torch.linalg.lstsq(basis, visited.reshape(steps, -1).T).solution.T
    used = factors.abs().amax(0) > 1e-9  # some schedulers draw noise that they then multiply by zero
    factors = torch.where(factors.abs() > 1e-12, factors, 0.0)
    return factors[:, used], tuple(k for k, keep in zip(drawn, used.tolist(), strict=True) if keep)


def _check_linear(scheduler: Any, num_steps: int, table: SolverTable) -> None:
    generator = torch.Generator().manual_seed(2)
    steps = table.num_steps
    start = 3 * torch.randn(_NOISE_SAMPLES, 1, 1, 1, generator=generator, dtype=torch.float64)
    outputs = 3 * torch.randn(steps, _NOISE_SAMPLES, 1, 1, 1, generator=generator, dtype=torch.float64)
    run, _ = _trajectory(scheduler, num_steps, start, outputs, seed=1)
    noise, _ = _trajectory(scheduler, num_steps, torch.zeros_like(start), torch.zeros_like(outputs), seed=1)
    columns = torch.cat([start[None], outputs]).reshape(steps + 1, -1)
    predicted = table.coefficients[:, : steps + 1] @ columns
    found = (run - noise).reshape(steps, -1)
    error = float((predicted - found).norm() / found.norm())
    if not error < _TOLERANCE:
        raise SolverError(f"{table.name}: the scheduler is not linear (relative error {error:.1e})")
