"""Solver tables: a diffusers scheduler as a matrix of coefficients, obtained by probing the scheduler itself.

A scheduler that is linear in (x_start, model outputs e_j, injected noise n_j) is one matrix per step count:

    x_{k+1} = A_k x_start + sum_{j<=k} W_kj e_j + sum_{j<=k} V_kj n_j

The coefficients are the scheduler's float64 responses to unit impulses; nothing is re-derived by hand. One row of the
table advances any canvas at any step, so canvases at different steps of different schedules share a tick. Inpainting,
which restores the known latents after every step, needs no further columns: a step is element-wise, so the history of
latents that are replaced every time has no effect.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import torch
from jaxtyping import Float
from torch import Tensor

from dentgen.diffusion.probe import Run, SchedulerProbe
from dentgen.errors import SolverError

_TOLERANCE: Final = 1e-5
_SPARE_BATCH: Final = 256  # rows beyond the number of unknowns, so that a bad fit leaves a residual
_IMPULSE: Final = 2.0**12  # large against injected noise, so that float32 schedulers do not lose it to rounding
_NON_LINEAR_OPTIONS: Final = ("thresholding", "clip_sample")
_UNUSED_NOISE: Final = 1e-6  # some schedulers draw noise and multiply it by zero, or by a clamped tiny variance


@dataclass(frozen=True, slots=True, eq=False)
class SolverTable:
    """Coefficients of one scheduler at one step count.

    Attributes:
        name: Name for messages and provenance.
        timesteps: Training timestep of each model call; fractional for some schedulers.
        input_scale: Factor on the latents before each model call.
        start_signal, start_noise: x_start = start_signal * image latents + start_noise * standard normal noise.
        signal, noise: Factors of the scheduler's ``add_noise`` at the timestep of each model call, on image latents
            and noise: inpainting fills the known region with this mixture.
        coefficients: Row k maps the columns x_start, e_0 .. e_{K-1} and one per injected noise to x_{k+1}.
        noise_steps: Steps in which the scheduler injects fresh noise, in column order.
        prediction_type: diffusers' ``prediction_type``: ``epsilon``, ``v_prediction`` or ``sample``.
    """

    name: str
    timesteps: Float[Tensor, " steps"]
    input_scale: Float[Tensor, " steps"]
    start_signal: float
    start_noise: float
    signal: Float[Tensor, " steps"]
    noise: Float[Tensor, " steps"]
    coefficients: Float[Tensor, "steps columns"]
    noise_steps: tuple[int, ...]
    prediction_type: str

    @property
    def num_steps(self) -> int:
        """Model calls per canvas."""
        return len(self.timesteps)

    @property
    def num_columns(self) -> int:
        """Latents kept per canvas: x_start, every prediction and every injected noise."""
        return int(self.coefficients.shape[1])

    @property
    def first_noise(self) -> int:
        """Column of the first injected noise."""
        return 1 + self.num_steps


def probe_solver(
    scheduler: Any,
    num_steps: int,
    *,
    strength: float = 1.0,
    timesteps: Sequence[int] | None = None,
    name: str = "",
) -> SolverTable:
    """Read a scheduler's solver table.

    Args:
        scheduler: A diffusers scheduler; it is not modified.
        num_steps: Inference steps at full strength; ignored if ``timesteps`` are given.
        strength: Image-to-image strength, 0 < strength <= 1: the fraction of the steps to run. Below 1 the start is a
            mixture of image and noise, at 1 it is noise alone.
        timesteps: Explicit training timesteps, strictly decreasing, overriding the scheduler's spacing.
        name: Name for messages; the scheduler's class by default.

    Returns:
        The table, in float64.

    Raises:
        SolverError: If the scheduler is not linear, rejects the steps, draws noise that cannot be reproduced, or has
            coefficients that are not finite; or if no step is left at this strength.
    """
    count = num_steps if timesteps is None else len(timesteps)
    probe = SchedulerProbe(scheduler, f"{name or type(scheduler).__name__}-{count}", count, strength, timesteps)
    _check_settings(probe)
    steps = probe.count_calls()
    unknowns, size = 1 + steps, 1 + steps + _SPARE_BATCH
    quiet = probe.run(torch.zeros(unknowns, size, dtype=torch.float64))
    impulses = probe.run(_IMPULSE * torch.eye(unknowns, size, dtype=torch.float64))
    linear = ((impulses.visited - quiet.visited) / _IMPULSE)[:, :unknowns]
    _check_finite(probe.name, linear, quiet)
    injected, noise_steps = _noise_columns(probe.name, quiet)
    _check_linear(probe, quiet, linear)
    from_image = strength < 1
    return SolverTable(
        name=probe.name,
        timesteps=quiet.timesteps,
        input_scale=quiet.input_scale,
        start_signal=float(quiet.signal[0]) if from_image else 0.0,
        start_noise=float(quiet.noise[0]) if from_image else quiet.init_noise_sigma,
        signal=quiet.signal,
        noise=quiet.noise,
        coefficients=torch.cat([linear, injected], 1),
        noise_steps=noise_steps,
        prediction_type=getattr(scheduler.config, "prediction_type", "epsilon"),
    )


def _check_settings(probe: SchedulerProbe) -> None:
    """Reject settings that a scheduler would silently accept and misuse."""
    config, name = probe.scheduler.config, probe.name
    for option in _NON_LINEAR_OPTIONS:
        if getattr(config, option, False):
            advice = "clipped predictions have no linear solver table"
            raise SolverError(file=name, key=option, found=True, expected=False, advice=advice)
    if not 0 < probe.strength <= 1:
        found, expected = f"{probe.strength:g}", "more than 0 and at most 1"
        raise SolverError(file=name, key="strength", found=found, expected=expected)
    bounded = (getattr(config, "num_train_timesteps", math.inf), *(probe.timesteps or ()), -1)
    if any(before <= after for before, after in pairwise(bounded)):
        expected = f"strictly decreasing timesteps in 0..{bounded[0] - 1}"
        raise SolverError(file=name, key="timesteps", found=list(bounded[1:-1]), expected=expected)


def _check_finite(name: str, linear: Tensor, quiet: Run) -> None:
    coefficients = (linear, quiet.input_scale, quiet.signal, quiet.noise)
    if not all(bool(torch.isfinite(values).all()) for values in coefficients):
        found, advice = "values that are not finite", "these settings divide by a sigma of zero"
        raise SolverError(file=name, key="coefficients", found=found, expected="finite values", advice=advice)


def _check_linear(probe: SchedulerProbe, quiet: Run, linear: Tensor) -> None:
    """Compare table and scheduler on random inputs, far from unit impulses, at every step."""
    generator = torch.Generator().manual_seed(2)
    inputs = 3 * torch.randn(linear.shape[1], quiet.visited.shape[1], generator=generator, dtype=torch.float64)
    actual = probe.run(inputs).visited - quiet.visited
    error = float(((actual - linear @ inputs).norm(dim=1) / actual.norm(dim=1)).max())
    if not error < _TOLERANCE:
        found, expected = f"a relative error of {error:.1e}", f"less than {_TOLERANCE:.0e}"
        message = "the scheduler is not linear"
        raise SolverError(message, file=probe.name, key="linearity", found=found, expected=expected)


def _noise_columns(name: str, quiet: Run) -> tuple[Tensor, tuple[int, ...]]:
    """Columns of the injected noise and their steps: least squares on a run on zeros, whose output is noise alone."""
    negligible = _UNUSED_NOISE * quiet.visited.square().mean().sqrt().clamp(min=1)
    later = torch.arange(len(quiet.timesteps))[:, None] >= quiet.drew
    for dtype in (torch.float64, torch.float32):  # some schedulers draw float32 whatever the sample's dtype
        drawn = quiet.draws(dtype)
        columns = torch.linalg.lstsq(drawn.T, quiet.visited.T, driver="gels").solution.T * later
        if (columns @ drawn - quiet.visited).norm() <= _TOLERANCE * quiet.visited.norm():
            used = (columns.abs() > negligible).any(0)
            return columns[:, used], tuple(quiet.drew[used].tolist())
    found, expected = "noise that cannot be reproduced", "standard normal noise from the generator given to step()"
    raise SolverError(file=name, key="injected noise", found=found, expected=expected)
