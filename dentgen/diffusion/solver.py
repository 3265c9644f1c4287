"""Solver tables: a diffusers scheduler turned into numbers, by probing the scheduler itself.

A scheduler that is linear in (x_start, model outputs e_j, injected noise n_j) is one matrix per step count:

    x_{k+1} = A_k x_start + sum_{j<=k} W_kj e_j + sum_{j<=k} V_kj n_j

Unit impulses go through the scheduler in float64 and the coefficients are read off; nothing is re-derived by hand. A
row of the table then advances any canvas at any step, so canvases at different steps of different schedules share one
tick. Inpainting, which puts the known latents back after every step, needs no further columns: a step acts on every
latent by itself, so what a history makes of latents that are replaced each time never shows.
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
_SPARE_BATCH: Final = 256  # beyond the unknowns, so that inputs that do not fit leave a residual
_IMPULSE: Final = 2.0**12  # well above injected noise, which float32 schedulers would otherwise round it against
_NON_LINEAR_OPTIONS: Final = ("thresholding", "clip_sample")
_UNUSED_NOISE: Final = 1e-6  # some schedulers draw noise that they then multiply by zero, or by what they clamp it to


@dataclass(frozen=True, slots=True, eq=False)
class SolverTable:
    """One scheduler at one step count, as coefficients.

    Attributes:
        name: For messages and provenance.
        timesteps: Training timestep of each model call; some schedulers use fractions.
        input_scale: Factor on the latents before each model call.
        start_signal, start_noise: x_start = start_signal * image latents + start_noise * standard normal noise.
        signal, noise: Row k gives the scheduler's ``add_noise`` just before model call k, as factors on image latents
            and noise: what an inpainting pipeline puts in place of the known region.
        coefficients: Row k gives x_{k+1} from the columns x_start, e_0 .. e_{K-1}, and one per injected noise.
        noise_steps: Steps after which the scheduler injects fresh noise, in column order.
        prediction_type: What the scheduler takes the model's output for.
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
        """Latents that a canvas keeps: x_start, every prediction, every injected noise."""
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
        scheduler: A diffusers scheduler; it is not changed.
        num_steps: Inference steps at full strength; not used where ``timesteps`` are given.
        strength: Image-to-image strength, 0 < strength <= 1: the share of the steps that is run. Below 1 the start is
            the image with noise, at 1 it is noise alone.
        timesteps: Training timesteps in place of the scheduler's own choice, falling.
        name: Name for messages; the scheduler's class by default.

    Raises:
        SolverError: If the scheduler is not linear, refuses these steps, draws noise that cannot be drawn again, or has
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
    by_image = strength < 1
    return SolverTable(
        name=probe.name,
        timesteps=quiet.timesteps,
        input_scale=quiet.input_scale,
        start_signal=float(quiet.signal[0]) if by_image else 0.0,
        start_noise=float(quiet.noise[0]) if by_image else quiet.init_noise_sigma,
        signal=quiet.signal,
        noise=quiet.noise,
        coefficients=torch.cat([linear, injected], 1),
        noise_steps=noise_steps,
        prediction_type=getattr(scheduler.config, "prediction_type", "epsilon"),
    )


def _check_settings(probe: SchedulerProbe) -> None:
    """Refuse what a scheduler would take without a word and make nonsense of."""
    config = probe.scheduler.config
    for option in _NON_LINEAR_OPTIONS:
        if getattr(config, option, False):
            raise SolverError(f"{probe.name}: {option}=True clips the prediction and is not linear; set it to False")
    if not 0 < probe.strength <= 1:
        raise SolverError(f"{probe.name}: found strength {probe.strength:g}, expected more than 0 and at most 1")
    bounded = (getattr(config, "num_train_timesteps", math.inf), *(probe.timesteps or ()), -1)
    if any(before <= after for before, after in pairwise(bounded)):
        raise SolverError(f"{probe.name}: timesteps must fall and lie in 0..{bounded[0] - 1}, found {bounded[1:-1]}")


def _check_finite(name: str, linear: Tensor, quiet: Run) -> None:
    found = (linear, quiet.input_scale, quiet.signal, quiet.noise)
    if not all(bool(torch.isfinite(values).all()) for values in found):
        raise SolverError(f"{name}: coefficients are not finite; this setting divides by a zero sigma")


def _check_linear(probe: SchedulerProbe, quiet: Run, linear: Tensor) -> None:
    """Inputs far from unit impulses must come out as the columns say, at every step."""
    generator = torch.Generator().manual_seed(2)
    inputs = 3 * torch.randn(linear.shape[1], quiet.visited.shape[1], generator=generator, dtype=torch.float64)
    found = probe.run(inputs).visited - quiet.visited
    error = float(((found - linear @ inputs).norm(dim=1) / found.norm(dim=1)).max())
    if not error < _TOLERANCE:
        raise SolverError(f"{probe.name}: the scheduler is not linear (relative error {error:.1e})")


def _noise_columns(name: str, quiet: Run) -> tuple[Tensor, tuple[int, ...]]:
    """Columns of the injected noise, from a run on zeros: whatever came out of it is noise, solved for its factors."""
    dust = _UNUSED_NOISE * quiet.visited.square().mean().sqrt().clamp(min=1)
    later = torch.arange(len(quiet.timesteps))[:, None] >= quiet.drew
    for dtype in (torch.float64, torch.float32):  # some schedulers draw float32 whatever the sample's dtype
        drawn = quiet.draws(dtype)
        columns = torch.linalg.lstsq(drawn.T, quiet.visited.T, driver="gels").solution.T * later
        if (columns @ drawn - quiet.visited).norm() <= _TOLERANCE * quiet.visited.norm():
            used = (columns.abs() > dust).any(0)
            return columns[:, used], tuple(quiet.drew[used].tolist())
    raise SolverError(f"{name}: the scheduler adds noise that cannot be drawn again from its generator")
