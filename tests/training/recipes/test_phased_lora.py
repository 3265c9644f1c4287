"""Recipe ``phased-lora``: edges of phases, the identity there, the teacher's own step before training, resumed runs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler

from dentgen.errors import BundleError
from dentgen.generation.generator import solver_table
from dentgen.models.trained_sampling import TrainedSampling, read_trained_sampling
from dentgen.spec.build import BuildSpec
from dentgen.training.distillation import Distillation, Shown
from dentgen.training.miniature import SCHEDULER_CONFIG
from dentgen.training.recipes.phased_lora import PhasedLoraRecipe, phase_end, phase_starts
from dentgen.training.run import run_training
from tests.training.runs import (
    CPU,
    copied_bundle,
    killed_and_whole,
    train_spec,
    training_data,
    weights_of,
)

PHASES = (1, 2, 4, 5, 8)


@pytest.fixture(scope="module")
def recipe(phantoms: str, family: Path) -> PhasedLoraRecipe:
    return PhasedLoraRecipe(train_spec(phantoms, family, "phased-lora", batch=8, guidance=[1, 1]), CPU)


@pytest.mark.slow
@pytest.mark.parametrize("phases", PHASES)
def test_a_builds_ddim_steps_go_from_edge_to_edge(phases: int, family: Path) -> None:
    """The table of a build in as many steps is the chain of steps that the student is trained for."""
    spec = BuildSpec.model_validate({"sampling": {"scheduler": "ddim", "steps": phases}})
    table, starts = solver_table(spec, family / "bundle"), phase_starts(phases)
    assert tuple(int(step) for step in table.timesteps) == starts
    assert tuple(phase_end(torch.tensor(starts), phases).tolist()) == (*starts[1:], 0)
    abar = DDIMScheduler.from_config(SCHEDULER_CONFIG).alphas_cumprod.double()
    rng = torch.Generator().manual_seed(0)
    x, *noises = torch.randn(1 + phases, generator=rng, dtype=torch.float64)
    columns, expected = torch.stack([x, *noises]), x
    for row, start, noise in zip(table.coefficients, starts, noises, strict=True):
        end = int(phase_end(torch.tensor([start]), phases))
        clean = (expected - (1 - abar[start]).sqrt() * noise) / abar[start].sqrt()
        expected = abar[end].sqrt() * clean + (1 - abar[end]).sqrt() * noise
        torch.testing.assert_close(row @ columns, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("phases", PHASES)
def test_no_rung_leaves_its_phase(phases: int) -> None:
    stride = 1000 // 200
    start = torch.arange(stride, 1001, stride) - 1
    end, edge = (start - stride).clamp_min(0), phase_end(start, phases)
    assert bool((edge <= end).all())
    assert len(set(edge.tolist())) == phases
    assert set(edge.tolist()) <= {0, *phase_starts(phases)}


@pytest.mark.integration
def test_an_untrained_student_steps_as_the_teachers_ddim(recipe: PhasedLoraRecipe) -> None:
    shared, latents = recipe._distillation, torch.randn(2, 4, 8, 8)
    shown = shared.shown(training_data(recipe._spec).batch(0, 0, 2))
    scheduler = DDIMScheduler.from_config(SCHEDULER_CONFIG)
    scheduler.set_timesteps(2)
    for start, end in ((999, 499), (499, 0)):
        times, residuals = torch.tensor([start] * 2), shared.residuals(torch.tensor([start] * 2), shown)
        stepped = recipe._to_edge(recipe.student, latents, times, torch.tensor([end] * 2), shown, residuals)
        noise = shared.teacher_noise(latents, times, shown, residuals, torch.ones(2))
        expected = scheduler.step(noise, start, latents).prev_sample
        torch.testing.assert_close(stepped, expected, rtol=1e-4, atol=1e-4)


def test_at_the_edge_the_student_is_the_identity(recipe: PhasedLoraRecipe) -> None:
    shared, latents, edge = recipe._distillation, torch.randn(2, 4, 8, 8), torch.tensor([499, 0])
    shown = shared.shown(training_data(recipe._spec).batch(0, 0, 2))
    there = recipe._to_edge(recipe.student, latents, edge, edge, shown, shared.residuals(edge, shown))
    torch.testing.assert_close(there, latents, rtol=1e-4, atol=1e-4)


@pytest.mark.integration
@torch.no_grad()
def test_the_loss_compares_the_ends_of_two_neighbouring_points(
    recipe: PhasedLoraRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By hand, from diffusers' scheduler: a teacher's step down the ladder, then the student's to the same end."""
    monkeypatch.setattr(recipe, "_spec", recipe._spec.model_copy(update={"phases": 1, "ladder": 2}))
    data, shared = training_data(recipe._spec), recipe._distillation
    batch = data.batch(0, 0, 8)
    jump, shown = shared.draw(batch, recipe._spec), shared.shown(batch)
    assert set(jump.start.tolist()) == {499, 999}
    noisy = shared.noisy(batch, shared.networks.autoencoder.pictures(batch), jump.start)
    near = ddim_step(shared, noisy, 999, 1, shown)
    far = ddim_step(shared, ddim_step(shared, noisy, 999, 2, shown), 499, 1, shown)
    squares = (near - far).square().mean((1, 2, 3))
    expected = torch.where(jump.start == 999, squares, 0.0)  # from 499 the teacher's step reaches the end itself
    torch.testing.assert_close(recipe(batch)["mse"], expected.mean(), rtol=1e-3, atol=1e-6)


def ddim_step(shared: Distillation, latents: torch.Tensor, start: int, steps: int, shown: Shown) -> torch.Tensor:
    """The unguided teacher's step of diffusers' scheduler for so many steps."""
    scheduler, times = DDIMScheduler.from_config(SCHEDULER_CONFIG), torch.full((len(latents),), start)
    scheduler.set_timesteps(steps)
    noise = shared.teacher_noise(latents, times, shown, shared.residuals(times, shown), torch.ones(len(latents)))
    moved: torch.Tensor = scheduler.step(noise, start, latents).prev_sample
    return moved


def test_a_missing_adapter_is_refused(phantoms: str, family: Path) -> None:
    with pytest.raises(BundleError):
        PhasedLoraRecipe(train_spec(phantoms, family, "phased-lora", adapter="own"), CPU)


@pytest.mark.slow
def test_a_phased_lora_says_how_it_is_sampled(phantoms: str, family: Path, tmp_path: Path) -> None:
    folder = copied_bundle(family, tmp_path)
    run_training(train_spec(phantoms, folder, "phased-lora", phases=4, ladder=20, learning_rate=0.01, validate_steps=4))
    found = read_trained_sampling(folder / "bundle" / "loras" / "phased")
    assert found == TrainedSampling("ddim", (999, 749, 499, 249))
    assert (folder / "phased-lora" / "previews" / "0000004.png").exists()


@pytest.mark.slow
def test_the_student_learns_the_guided_step(phantoms: str, family: Path) -> None:
    """With one rung a phase the teacher's step reaches the end itself, so the target does not move with the student."""
    spec = train_spec(phantoms, family, "phased-lora", ladder=2, guidance=[4, 4], batch=4)
    recipe, batch = PhasedLoraRecipe(spec, CPU), training_data(spec).batch(0, 0, 4)
    optimiser = torch.optim.Adam([each for each in recipe.parameters() if each.requires_grad], lr=1e-3)
    losses = []
    for _ in range(16):
        optimiser.zero_grad()
        loss = recipe(batch)["loss"]
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0], losses


@pytest.mark.slow
def test_a_killed_run_resumes_bit_for_bit(phantoms: str, family: Path, tmp_path: Path) -> None:
    cut, whole = killed_and_whole(family, phantoms, tmp_path, "phased-lora", steps=8)
    first, second = weights_of(whole), weights_of(cut)
    assert all(torch.equal(first[name], second[name]) for name in first)
