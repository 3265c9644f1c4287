"""Runs of a diffusers-like scheduler on given latents and model outputs, in float64, with everything recorded.

A run makes the same calls, in the same order, as diffusers' image-to-image and inpainting pipelines.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dentgen.errors import SolverError

_METHODS: Final = ("set_timesteps", "scale_model_input", "step", "add_noise")
_FAILURES: Final = (
    ValueError, TypeError, LookupError, ArithmeticError, AttributeError, AssertionError, RuntimeError
)  # fmt: skip
_SEED: Final = 1


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """Record of one scheduler run.

    Attributes:
        timesteps: Training timestep of each model call.
        input_scale: Factor of ``scale_model_input`` before each model call.
        signal, noise: Factors of ``add_noise`` at the timestep of each model call.
        init_noise_sigma: Factor on the standard normal noise that a text-to-image run starts from.
        visited: x_{k+1} after every step.
        generator_states: State of the noise generator before every step and after the last one.
    """

    timesteps: Float[Tensor, " steps"]
    input_scale: Float[Tensor, " steps"]
    signal: Float[Tensor, " steps"]
    noise: Float[Tensor, " steps"]
    init_noise_sigma: float
    visited: Float[Tensor, "steps batch"]
    generator_states: list[Tensor]

    @property
    def drew(self) -> Int[Tensor, " draws"]:
        """Indices of the steps that drew from the generator."""
        drew = [not torch.equal(before, after) for before, after in pairwise(self.generator_states)]
        return torch.tensor(drew).nonzero().flatten()

    def draws(self, dtype: torch.dtype) -> Float[Tensor, "draws batch"]:
        """The noise of each of these steps, assuming one standard normal draw in ``dtype`` at the start of the step."""
        drawn = torch.zeros(len(self.drew), self.visited.shape[1], dtype=torch.float64)
        for noise, k in zip(drawn, self.drew.tolist(), strict=True):
            generator = torch.Generator()
            generator.set_state(self.generator_states[k])
            noise[:] = torch.randn(len(noise), 1, 1, 1, generator=generator, dtype=dtype).flatten()
        return drawn


@dataclass(frozen=True, slots=True, eq=False)
class SchedulerProbe:
    """A scheduler and the arguments of its runs. Every run works on a copy, so the scheduler is never modified.

    Attributes:
        scheduler: Any object with the interface of a diffusers scheduler.
        name: Name for error messages.
        num_steps: Inference steps at full strength.
        strength: Fraction of the steps to run, 0 < strength <= 1.
        timesteps: Explicit training timesteps, overriding the scheduler's spacing.
    """

    scheduler: Any
    name: str
    num_steps: int
    strength: float
    timesteps: Sequence[int] | None

    def count_calls(self) -> int:
        """Number of model calls of a run; solvers of higher order make several per step.

        Raises:
            SolverError: If ``strength`` leaves no step, or the scheduler rejects the steps.
        """
        _, timesteps = self._begin()
        if len(timesteps) == 0:
            found, expected = f"{self.strength:g}, which leaves none of {self.num_steps} steps", "at least one step"
            advice = f"use a strength above 1/{self.num_steps} or more than {1 / self.strength:g} steps"
            raise SolverError(file=self.name, key="strength", found=found, expected=expected, advice=advice)
        return len(timesteps)

    def run(self, inputs: Float[Tensor, "inputs batch"]) -> Run:
        """Run a copy of the scheduler; runs with the same number of inputs draw the same noise.

        Args:
            inputs: x_start, e_0 .. e_{K-1}: the start latents and every model output.

        Raises:
            SolverError: If the scheduler fails.
        """
        try:
            return self._run(inputs)
        except _FAILURES as error:
            message = f"the scheduler fails with {len(inputs) - 1} model calls: {error}"
            raise SolverError(message, file=self.name) from error

    def _run(self, inputs: Tensor) -> Run:
        scheduler, timesteps = self._begin()
        generator = torch.Generator().manual_seed(_SEED)
        takes_generator = "generator" in inspect.signature(scheduler.step).parameters
        extra = {"generator": generator} if takes_generator else {}
        x, outputs = _latents(inputs[0]), _latents(inputs[1:])
        factors, visited, states = [], [], [generator.get_state()]
        for k, t in enumerate(timesteps):
            factors.append(_factors(scheduler, timesteps[k : k + 1]))
            x = scheduler.step(outputs[k], t, x, **extra).prev_sample
            visited.append(x.flatten().double())
            states.append(generator.get_state())
        scale, signal, noise = torch.tensor(factors, dtype=torch.float64).T
        sigma = float(scheduler.init_noise_sigma)
        return Run(timesteps.double(), scale, signal, noise, sigma, torch.stack(visited), states)

    def _begin(self) -> tuple[Any, Tensor]:
        """A copy of the scheduler before its first step, and the timesteps of the run."""
        scheduler, count = copy.deepcopy(self.scheduler), self.num_steps
        missing = [method for method in _METHODS if not hasattr(scheduler, method)]
        if missing:
            found = f"{type(scheduler).__name__} without {', '.join(missing)}"
            raise SolverError(file=self.name, found=found, expected=f"a scheduler with {', '.join(_METHODS)}")
        self._set_timesteps(scheduler)
        first = max(count - min(int(count * self.strength), count), 0) * getattr(scheduler, "order", 1)
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(first)
        return scheduler, scheduler.timesteps[first:]

    def _set_timesteps(self, scheduler: Any) -> None:
        explicit = None if self.timesteps is None else list(self.timesteps)
        if explicit is not None and "timesteps" not in inspect.signature(scheduler.set_timesteps).parameters:
            expected = f"a number of steps, as {type(scheduler).__name__} takes no explicit timesteps"
            raise SolverError(file=self.name, key="timesteps", found=explicit, expected=expected)
        try:
            if explicit is None:
                scheduler.set_timesteps(self.num_steps)
            else:
                scheduler.set_timesteps(timesteps=explicit)
        except _FAILURES as error:
            key = "steps" if explicit is None else "timesteps"
            message = f"the scheduler rejects {explicit or self.num_steps}: {error}"
            raise SolverError(message, file=self.name, key=key) from error


def _latents(values: Tensor) -> Tensor:
    return values[..., None, None, None]


def _factors(scheduler: Any, timestep: Tensor) -> tuple[float, float, float]:
    """Input scale, signal and noise; calling ``scale_model_input`` also sets the step index of some schedulers."""
    unit = torch.eye(2, dtype=torch.float64)
    signal, noise = scheduler.add_noise(_latents(unit[0]), _latents(unit[1]), timestep).reshape(-1)
    scale = scheduler.scale_model_input(_latents(torch.ones(1, dtype=torch.float64)), timestep[0])
    return float(scale), float(signal), float(noise)
