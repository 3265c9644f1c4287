"""Probing: recorded scheduler runs against diffusers itself, and the errors of schedulers that cannot be probed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler, EulerAncestralDiscreteScheduler, HeunDiscreteScheduler, UniPCMultistepScheduler

from dentgen.diffusion.probe import SchedulerProbe
from dentgen.errors import SolverError
from dentgen.models.bundle import find_bundle
from dentgen.models.schedulers import make_scheduler
from dentgen.spec.sampling import SchedulerName

FOLDER = find_bundle("miniature")


def probe(
    scheduler: Any, num_steps: int = 4, strength: float = 1.0, timesteps: list[int] | None = None
) -> SchedulerProbe:
    return SchedulerProbe(scheduler, "nemo", num_steps, strength, timesteps)


def test_a_run_records_what_diffusers_does() -> None:
    """UniPC on given latents and model outputs, without noise."""
    inputs = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    scheduler: UniPCMultistepScheduler = make_scheduler("unipc", FOLDER)
    run = probe(scheduler).run(inputs)
    assert scheduler.num_inference_steps is None, "the scheduler itself is not touched"
    scheduler.set_timesteps(4)
    x = inputs[0][:, None, None, None]
    for k, t in enumerate(scheduler.timesteps):
        x = scheduler.step(inputs[1 + k][:, None, None, None], t, x).prev_sample
        assert torch.equal(run.visited[k], x.flatten())
    assert run.timesteps.tolist() == scheduler.timesteps.tolist()
    assert run.input_scale.tolist() == [1.0] * 4
    alphas = scheduler.alphas_cumprod[scheduler.timesteps].double()
    torch.testing.assert_close(run.signal, alphas.sqrt(), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(run.noise, (1 - alphas).sqrt(), rtol=1e-6, atol=1e-6)
    assert run.drew.tolist() == []


def test_input_scale_and_initial_sigma_are_the_schedulers_own() -> None:
    scheduler: EulerAncestralDiscreteScheduler = make_scheduler("euler_ancestral", FOLDER)
    run = probe(scheduler, 3).run(torch.zeros(4, 2, dtype=torch.float64))
    scheduler.set_timesteps(3)
    torch.testing.assert_close(run.input_scale, (1 + scheduler.sigmas[:3].double() ** 2) ** -0.5)
    assert run.init_noise_sigma == pytest.approx(float(scheduler.init_noise_sigma))


def test_injected_noise_is_drawn_again() -> None:
    """Of zeros, a DDPM step leaves its noise alone, times the posterior's standard deviation."""
    scheduler: DDPMScheduler = make_scheduler("ddpm", FOLDER)
    run = probe(scheduler, 3).run(torch.zeros(4, 50, dtype=torch.float64))
    assert run.drew.tolist() == [0, 1, 2]
    drawn = run.draws(torch.float64)
    scheduler.set_timesteps(3)
    deviation = scheduler._get_variance(scheduler.timesteps[0]).double().sqrt()
    torch.testing.assert_close(run.visited[0], deviation * drawn[0])
    assert not torch.allclose(run.draws(torch.float32), drawn)


@pytest.mark.parametrize(("name", "calls"), [("unipc", 6), ("heun", 11)])
def test_solvers_of_second_order_make_two_calls_per_step(name: SchedulerName, calls: int) -> None:
    assert probe(make_scheduler(name, FOLDER), 6).count_calls() == calls


def test_strength_skips_the_first_steps() -> None:
    """``get_timesteps`` of diffusers' image-to-image pipeline."""
    scheduler: HeunDiscreteScheduler = make_scheduler("heun", FOLDER)
    run = probe(scheduler, 10, 0.25).run(torch.zeros(4, 1, dtype=torch.float64))
    scheduler.set_timesteps(10)
    assert run.timesteps.tolist() == scheduler.timesteps[8 * 2 :].tolist()


def test_a_strength_that_leaves_no_step_is_an_error() -> None:
    with pytest.raises(SolverError) as caught:
        probe(make_scheduler("unipc", FOLDER), 4, 0.2).count_calls()
    error = caught.value
    assert (error.file, error.key, error.expected) == ("nemo", "strength", "at least one step")
    assert "1/4" in error.advice
    assert "5 steps" in error.advice
    assert probe(make_scheduler("unipc", FOLDER), 6, 0.2).count_calls() == 1


@pytest.mark.parametrize("name", ["unipc", "ddim"])
def test_schedulers_without_explicit_timesteps_reject_them(name: SchedulerName) -> None:
    with pytest.raises(SolverError) as caught:
        probe(make_scheduler(name, FOLDER), timesteps=[999, 679, 359, 99]).count_calls()
    error = caught.value
    assert (error.file, error.key, error.found) == ("nemo", "timesteps", [999, 679, 359, 99])


@pytest.mark.parametrize(
    ("name", "num_steps", "timesteps", "key", "reason"),
    [
        ("lcm", 51, None, "steps", "original_steps"),
        ("dpmpp_2m_karras", 4, [999, 679, 359, 99], "timesteps", "use_karras_sigmas"),
    ],
)
def test_the_schedulers_own_reason_is_reported(
    name: SchedulerName, num_steps: int, timesteps: list[int] | None, key: str, reason: str
) -> None:
    with pytest.raises(SolverError) as caught:
        probe(make_scheduler(name, FOLDER), num_steps, timesteps=timesteps).count_calls()
    assert (caught.value.file, caught.value.key) == ("nemo", key)
    assert reason in caught.value.message


def test_missing_methods_are_named() -> None:
    scheduler = make_scheduler({"_class_name": "IPNDMScheduler"}, FOLDER)
    with pytest.raises(SolverError) as caught:
        probe(scheduler).count_calls()
    assert caught.value.found == "IPNDMScheduler without add_noise"


@pytest.mark.parametrize(
    ("name", "num_steps", "options", "reason"),
    [
        ("unipc", 4, {"solver_order": 3, "lower_order_final": False}, "singular"),
        ("pndm", 3, {"skip_prk_steps": False}, ""),
    ],
)
def test_a_scheduler_that_fails_in_a_step_is_an_error(
    name: SchedulerName, num_steps: int, options: dict[str, Any], reason: str
) -> None:
    tested = probe(make_scheduler(name, FOLDER, options), num_steps)
    with pytest.raises(SolverError) as caught:
        tested.run(torch.zeros(1 + tested.count_calls(), 1, dtype=torch.float64))
    assert caught.value.file == "nemo"
    assert reason in caught.value.message
