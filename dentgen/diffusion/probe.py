"""Running a diffusers scheduler on latents of our choice, in float64, to see what it makes of them.

A run follows diffusers' image-to-image and inpainting pipelines call by call, so that whatever is read off is what they
would get. Refuses to know how schedulers are built: it takes any object with the methods named here.
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
    """What a scheduler did in one run.

    Attributes:
        timesteps: Training timestep of each model call.
        input_scale: Factor that it put on the latents before each model call.
        signal, noise: Factors of its ``add_noise`` just before each model call.
        init_noise_sigma: Factor on standard normal noise that starts a run on noise alone.
        visited: x_{k+1} after every step.
        generator_states: Of the noise generator before every step, and after the last.
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
        """Steps in which the scheduler drew from the generator."""
        drew = [not torch.equal(before, after) for before, after in pairwise(self.generator_states)]
        return torch.tensor(drew).nonzero().flatten()

    def draws(self, dtype: torch.dtype) -> Float[Tensor, "draws batch"]:
        """The noise that was drawn in each of these steps, if it was drawn in ``dtype``."""
        drawn = torch.zeros(len(self.drew), self.visited.shape[1], dtype=torch.float64)
        for noise, k in zip(drawn, self.drew.tolist(), strict=True):
            generator = torch.Generator()
            generator.set_state(self.generator_states[k])
            noise[:] = torch.randn(len(noise), 1, 1, 1, generator=generator, dtype=dtype).flatten()
        return drawn


@dataclass(frozen=True, slots=True, eq=False)
class SchedulerProbe:
    """A scheduler and how it is begun. The scheduler itself is never touched: every run has its own copy.

    Attributes:
        scheduler: A diffusers scheduler.
        name: For messages.
        num_steps: Inference steps at full strength; not used where ``timesteps`` are given.
        strength: Share of the steps that is run, 0 < strength <= 1.
        timesteps: Training timesteps in place of the scheduler's own choice.
    """

    scheduler: Any
    name: str
    num_steps: int
    strength: float
    timesteps: Sequence[int] | None

    def count_calls(self) -> int:
        """Model calls of a run; a step of a higher order takes several.

        Raises:
            SolverError: If there is none, or the scheduler refuses these steps.
        """
        _, timesteps = self._begin()
        if len(timesteps) == 0:
            raise SolverError(
                f"{self.name}: strength {self.strength:g} leaves none of {self.num_steps} steps; take a strength above "
                f"1/{self.num_steps} or more than {1 / self.strength:g} steps"
            )
        return len(timesteps)

    def run(self, inputs: Float[Tensor, "inputs batch"]) -> Run:
        """Run the scheduler; runs on equally many inputs draw the same noise.

        Args:
            inputs: x_start, e_0 .. e_{K-1}: the start and every model output.

        Raises:
            SolverError: If the scheduler fails.
        """
        try:
            return self._run(inputs)
        except _FAILURES as error:
            raise SolverError(f"{self.name}: the scheduler fails at {len(inputs) - 1} model calls: {error}") from error

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
        """A scheduler that is about to take its first step, and the timesteps that it will be called with."""
        scheduler, count = copy.deepcopy(self.scheduler), self.num_steps
        missing = [method for method in _METHODS if not hasattr(scheduler, method)]
        if missing:
            raise SolverError(f"{self.name}: found no {', '.join(missing)}, expected what Stable Diffusion calls")
        self._set_timesteps(scheduler)
        first = max(count - min(int(count * self.strength), count), 0) * getattr(scheduler, "order", 1)
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(first)
        return scheduler, scheduler.timesteps[first:]

    def _set_timesteps(self, scheduler: Any) -> None:
        given = None if self.timesteps is None else list(self.timesteps)
        if given is not None and "timesteps" not in inspect.signature(scheduler.set_timesteps).parameters:
            raise SolverError(f"{self.name}: {type(scheduler).__name__} takes a number of steps only, found {given}")
        try:
            if given is None:
                scheduler.set_timesteps(self.num_steps)
            else:
                scheduler.set_timesteps(timesteps=given)
        except _FAILURES as error:
            raise SolverError(f"{self.name}: the scheduler refuses {given or self.num_steps}: {error}") from error


def _latents(values: Tensor) -> Tensor:
    return values[..., None, None, None]


def _factors(scheduler: Any, timestep: Tensor) -> tuple[float, float, float]:
    """Input scale, signal and noise; the input is scaled here because some schedulers find their step index then."""
    unit = torch.eye(2, dtype=torch.float64)
    signal, noise = scheduler.add_noise(_latents(unit[0]), _latents(unit[1]), timestep).reshape(-1)
    scale = scheduler.scale_model_input(_latents(torch.ones(1, dtype=torch.float64)), timestep[0])
    return float(scale), float(signal), float(noise)
