"""Solver tables against the schedulers that they are read from, run as by diffusers' pipelines."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    UniPCMultistepScheduler,
)
from torch import Tensor

from dentgen.diffusion.solver import SolverTable, probe_solver
from dentgen.errors import SolverError
from dentgen.models.bundle import find_bundle
from dentgen.models.schedulers import make_scheduler
from dentgen.spec.sampling import SchedulerName

CONFIG = {
    "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000,
    "prediction_type": "epsilon", "clip_sample": False,
}  # fmt: skip
NAMES: tuple[SchedulerName, ...] = get_args(SchedulerName)
FLOAT32 = ("dpmpp_2m", "dpmpp_2m_karras", "euler", "euler_ancestral")
LCM_TIMESTEPS = [999, 679, 359, 99]


def make(name: SchedulerName | dict[str, Any], **options: Any) -> Any:
    return make_scheduler(name, find_bundle("miniature"), options)


def tolerance(name: SchedulerName | dict[str, Any]) -> float:
    """Some schedulers round latents or sigmas to float32; DDPM's last noise of 1e-10 comes from a clamped variance."""
    if isinstance(name, dict) or name in FLOAT32:
        return 1e-5
    return 1e-9 if name == "ddpm" else 1e-11


def model(x: Tensor, t: Tensor) -> Tensor:
    """A non-linear model, so that every wrong coefficient shows; with small slopes, so that rounding does not grow."""
    return 0.5 * torch.tanh(0.5 * x + 0.3 * torch.sin(3 * x.roll(1, -1)) + float(t) / 700)


@dataclass(frozen=True)
class Inputs:
    """Image latents, noise, and the mask of the known region in inpainting."""

    image: Tensor
    noise: Tensor
    known: Tensor


def inputs() -> Inputs:
    generator = torch.Generator().manual_seed(3)
    image, noise = torch.randn(2, 1, 4, 5, 5, generator=generator, dtype=torch.float64)
    known = torch.zeros_like(image)
    known[..., :2] = 1
    return Inputs(image, noise, known)


def sequential(
    scheduler: Any,
    steps: int,
    given: Inputs,
    *,
    strength: float = 1.0,
    timesteps: list[int] | None = None,
    inpaint: bool = False,
    drawn_as: torch.dtype = torch.float64,
) -> tuple[list[Tensor], dict[int, Tensor]]:
    """As diffusers' image-to-image and inpainting pipelines: every x_{k+1}, and the noise drawn in each step."""
    if timesteps is None:
        scheduler.set_timesteps(steps)
    else:
        scheduler.set_timesteps(timesteps=timesteps)
    run, x = begin(scheduler, steps if timesteps is None else len(timesteps), given, strength)
    generator = torch.Generator().manual_seed(9)
    extra = {"generator": generator} if "generator" in inspect.signature(scheduler.step).parameters else {}
    visited, drawn = [], {}
    for k, t in enumerate(run):
        drawn[k] = torch.randn(x.shape, generator=generator.clone_state(), dtype=drawn_as).double()
        x = scheduler.step(model(scheduler.scale_model_input(x, t), t), t, x, **extra).prev_sample
        if inpaint:
            last = k == len(run) - 1
            proper = given.image if last else scheduler.add_noise(given.image, given.noise, torch.tensor([run[k + 1]]))
            x = given.known * proper + (1 - given.known) * x
        visited.append(x)
    return visited, drawn


def begin(scheduler: Any, steps: int, given: Inputs, strength: float) -> tuple[Tensor, Tensor]:
    """``get_timesteps`` and ``prepare_latents`` of the inpainting pipeline."""
    init_timestep = min(int(steps * strength), steps)
    t_start = max(steps - init_timestep, 0)
    timesteps = scheduler.timesteps[t_start * scheduler.order :]
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(t_start * scheduler.order)
    if strength == 1.0:
        return timesteps, given.noise * scheduler.init_noise_sigma
    return timesteps, scheduler.add_noise(given.image, given.noise, timesteps[:1])


def by_table(table: SolverTable, given: Inputs, drawn: dict[int, Tensor], *, inpaint: bool = False) -> list[Tensor]:
    x = table.start_signal * given.image + table.start_noise * given.noise
    columns = torch.zeros(table.num_columns, *x.shape, dtype=x.dtype)
    columns[0] = x
    for column, step in enumerate(table.noise_steps, table.first_noise):
        columns[column] = drawn[step]
    visited = []
    for k in range(table.num_steps):
        columns[1 + k] = model(x * table.input_scale[k], table.timesteps[k])
        x = torch.tensordot(table.coefficients[k], columns, dims=1)
        if inpaint:
            last = k == table.num_steps - 1
            proper = given.image if last else table.signal[k + 1] * given.image + table.noise[k + 1] * given.noise
            x = given.known * proper + (1 - given.known) * x
        visited.append(x)
    return visited


def assert_table_equals(
    name: SchedulerName | dict[str, Any], steps: int, options: dict[str, Any] | None = None, **how: Any
) -> SolverTable:
    """Compare every x_k of the table with that of the scheduler."""
    given, drawn_as, inpaint = inputs(), how.pop("drawn_as", torch.float64), how.pop("inpaint", False)
    table = probe_solver(make(name, **(options or {})), steps, **how)
    expected, drawn = sequential(make(name, **(options or {})), steps, given, drawn_as=drawn_as, inpaint=inpaint, **how)
    found = by_table(table, given, drawn, inpaint=inpaint)
    assert len(found) == len(expected) == table.num_steps
    for k, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        assert float((ours - theirs).norm() / theirs.norm()) < tolerance(name), f"{name}, {steps} steps: x_{k + 1}"
    return table


@pytest.mark.parametrize("counts", [(1, 2, 3, 4, 9, 20), pytest.param(range(1, 51), marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", NAMES)
def test_table_equals_scheduler_at_every_step_count(name: SchedulerName, counts: Sequence[int]) -> None:
    for steps in counts:
        table = assert_table_equals(name, steps)
        assert bool(torch.isfinite(table.coefficients).all())
        assert not bool(table.coefficients[:, 1 : table.first_noise].triu(1).any()), "a step uses a later prediction"


@pytest.mark.slow
@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("solver_type", ["bh1", "bh2"])
@pytest.mark.parametrize("final", ["zero", "sigma_min"])
def test_table_equals_unipc_with_other_settings(order: int, solver_type: str, final: str) -> None:
    options = {"solver_order": order, "solver_type": solver_type, "final_sigmas_type": final}
    for steps in (1, 2, 3, 5, 8, 20, 50):
        if (solver_type, final) == ("bh1", "zero"):
            with pytest.raises(SolverError) as caught:
                probe_solver(make("unipc", **options), steps)
            assert caught.value.key == "coefficients"
        else:
            assert_table_equals("unipc", steps, options)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options", "drawn_as"),
    [
        ("dpmpp_2m", {"solver_order": 3}, torch.float64),
        ("dpmpp_2m", {"algorithm_type": "sde-dpmsolver++"}, torch.float32),
        ("dpmpp_2m_karras", {"algorithm_type": "sde-dpmsolver++"}, torch.float32),
        ("euler", {"use_karras_sigmas": True}, torch.float64),
        ("heun", {"use_karras_sigmas": True}, torch.float64),
        ("lcm", {"original_inference_steps": 100}, torch.float64),
        ("unipc", {"prediction_type": "v_prediction"}, torch.float64),
        ("ddim", {"timestep_spacing": "leading"}, torch.float64),
        ("euler", {"timestep_spacing": "leading"}, torch.float64),
        ("ddpm", {"variance_type": "fixed_large"}, torch.float64),
        ({"_class_name": "KDPM2AncestralDiscreteScheduler"}, {}, torch.float64),
        ({"_class_name": "TCDScheduler"}, {}, torch.float64),
        ({"_class_name": "DEISMultistepScheduler"}, {}, torch.float64),
        ({"_class_name": "LMSDiscreteScheduler"}, {}, torch.float64),
    ],
)
def test_table_equals_other_schedulers(
    name: SchedulerName | dict[str, Any], options: dict[str, Any], drawn_as: torch.dtype
) -> None:
    for steps in (2, 6, 20):
        table = assert_table_equals(name, steps, options, drawn_as=drawn_as)
        assert table.prediction_type == options.get("prediction_type", "epsilon")


@pytest.mark.parametrize("name", ["lcm", "ddpm", "dpmpp_2m", "euler", "heun"])
@pytest.mark.parametrize("timesteps", [LCM_TIMESTEPS, [800, 601, 37], [999]])
def test_table_equals_scheduler_with_explicit_timesteps(name: SchedulerName, timesteps: list[int]) -> None:
    table = assert_table_equals(name, len(timesteps), timesteps=timesteps)
    assert list(dict.fromkeys(table.timesteps.tolist())) == timesteps


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("strength", [0.3, 0.5, 0.8])
def test_table_equals_scheduler_at_lower_strength(name: SchedulerName, strength: float) -> None:
    for steps in (4, 10, 25):
        table = assert_table_equals(name, steps, strength=strength)
        assert table.start_signal > 0
        assert (table.start_signal, table.start_noise) == (float(table.signal[0]), float(table.noise[0]))


def test_table_equals_scheduler_at_lower_strength_of_explicit_timesteps() -> None:
    assert_table_equals("lcm", 4, timesteps=LCM_TIMESTEPS, strength=0.5)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("strength", [1.0, 0.6])
def test_table_equals_scheduler_in_inpainting(name: SchedulerName, strength: float) -> None:
    """With the known region restored after every step, the rest is correct under multistep schedulers too."""
    for steps in (2, 4, 11, 30):
        assert_table_equals(name, steps, inpaint=True, strength=strength)


def test_start_is_noise_alone_at_full_strength() -> None:
    table = probe_solver(make("euler"), 4)
    scheduler = make("euler")
    scheduler.set_timesteps(4)
    assert (table.start_signal, table.start_noise) == (0.0, float(scheduler.init_noise_sigma))


def test_probing_neither_depends_on_nor_changes_the_schedulers_state() -> None:
    scheduler = make("unipc")
    first = probe_solver(scheduler, 4)
    assert scheduler.num_inference_steps is None
    sequential(scheduler, 7, inputs())
    assert torch.equal(probe_solver(scheduler, 4).coefficients, first.coefficients)


def test_unipc_equals_values_worked_out_by_hand() -> None:
    """The sigma column of UniPC at 4 trailing steps, worked out by hand from alphas_cumprod."""
    table = probe_solver(UniPCMultistepScheduler.from_config({**CONFIG, "timestep_spacing": "trailing"}), 4)
    assert table.timesteps.tolist() == [999, 749, 499, 249]
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    abar = torch.cumprod(1 - betas, 0)
    # the last step lands on x0 = (x - sigma e) / alpha: its own prediction enters with -sigma / alpha
    sigma_over_alpha = ((1 - abar[249]) / abar[249]) ** 0.5
    assert float(table.coefficients[-1, 4]) == pytest.approx(-float(sigma_over_alpha), rel=1e-5)
    assert table.signal.tolist() == pytest.approx([float(abar[t] ** 0.5) for t in (999, 749, 499, 249)], rel=1e-5)


def test_noise_that_is_multiplied_by_zero_has_no_column() -> None:
    assert probe_solver(make("ddpm"), 5).noise_steps == (0, 1, 2, 3)
    assert probe_solver(make("euler_ancestral"), 5).noise_steps == (0, 1, 2, 3)


@pytest.mark.parametrize("option", ["clip_sample", "thresholding"])
def test_clipping_is_an_error(option: str) -> None:
    with pytest.raises(SolverError) as caught:
        probe_solver(DDIMScheduler.from_config({**CONFIG, option: True}), 4)
    error = caught.value
    assert (error.file, error.key, error.found, error.expected) == ("DDIMScheduler-4", option, True, False)


def test_errors_read_as_one_line() -> None:
    with pytest.raises(SolverError) as caught:
        probe_solver(make("unipc"), 4, strength=1.5, name="nemo")
    assert str(caught.value) == "nemo-4: strength: found 1.5, expected more than 0 and at most 1"


def failing_key(scheduler: Any) -> str:
    with pytest.raises(SolverError) as caught:
        probe_solver(scheduler, 4)
    return caught.value.key


@pytest.mark.parametrize("options", [{"solver_type": "bh1"}, {"lower_order_final": False}])
def test_settings_without_finite_coefficients_are_an_error(options: dict[str, Any]) -> None:
    config = {**CONFIG, "final_sigmas_type": "zero", **options}
    assert failing_key(UniPCMultistepScheduler.from_config(config)) == "coefficients"


def test_add_noise_that_is_not_finite_is_an_error() -> None:
    class Overflowing(DDIMScheduler):  # type: ignore[misc]
        def add_noise(self, image: Any, noise: Any, timesteps: Any) -> Any:
            return super().add_noise(image, noise, timesteps) / 0.0

    assert failing_key(Overflowing.from_config(CONFIG)) == "coefficients"


def test_a_scheduler_that_is_not_linear_is_an_error() -> None:
    class Squaring(DDIMScheduler):  # type: ignore[misc]
        def step(self, model_output: Any, timestep: Any, sample: Any, **extra: Any) -> Any:
            result = super().step(model_output, timestep, sample, **extra)
            result.prev_sample = result.prev_sample + 0.01 * model_output**2
            return result

    assert failing_key(Squaring.from_config(CONFIG)) == "linearity"


def test_noise_that_ignores_the_generator_is_an_error() -> None:
    class Shaking(DDIMScheduler):  # type: ignore[misc]
        def step(self, model_output: Any, timestep: Any, sample: Any, **extra: Any) -> Any:
            result = super().step(model_output, timestep, sample, **extra)
            result.prev_sample = result.prev_sample + 0.01 * torch.randn_like(sample)
            return result

    assert failing_key(Shaking.from_config(CONFIG)) == "injected noise"


def test_noise_that_is_not_normal_is_an_error() -> None:
    class Uniform(DDPMScheduler):  # type: ignore[misc]
        def step(self, model_output: Any, timestep: Any, sample: Any, generator: Any = None) -> Any:
            result = super().step(model_output, timestep, sample, generator=generator)
            result.prev_sample = result.prev_sample + torch.rand(sample.shape, generator=generator, dtype=sample.dtype)
            return result

    assert failing_key(Uniform.from_config(CONFIG)) == "injected noise"


@pytest.mark.parametrize("strength", [0.0, -0.5, 1.5, float("nan")])
def test_strength_out_of_range_is_an_error(strength: float) -> None:
    with pytest.raises(SolverError) as caught:
        probe_solver(make("unipc"), 4, strength=strength)
    assert (caught.value.key, caught.value.found) == ("strength", f"{strength:g}")


@pytest.mark.parametrize("timesteps", [[1000, 500], [500, 999], [500, 500], [500, -1]])
def test_timesteps_that_do_not_decrease_are_an_error(timesteps: list[int]) -> None:
    for scheduler in (EulerDiscreteScheduler, DPMSolverMultistepScheduler):
        with pytest.raises(SolverError) as caught:
            probe_solver(scheduler.from_config(CONFIG), 2, timesteps=timesteps)
        assert (caught.value.key, caught.value.found) == ("timesteps", timesteps)
