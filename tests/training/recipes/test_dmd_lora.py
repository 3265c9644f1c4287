"""Recipe ``dmd-lora``: the matching gradient, whose turn it is, the student's own steps, resumed runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import LCMScheduler

from dentgen.generation.generator import solver_table
from dentgen.models.trained_sampling import TrainedSampling, read_trained_sampling
from dentgen.spec.build import BuildSpec
from dentgen.training.data.rows import TrainingData
from dentgen.training.frozen_networks import frozen_unet
from dentgen.training.lora_student import lora_unet, write_lora
from dentgen.training.miniature import SCHEDULER_CONFIG
from dentgen.training.preview import predict_noise
from dentgen.training.recipes.dmd_lora import DmdLoraRecipe, lcm_timesteps, matching_gradient, matching_loss
from dentgen.training.run import run_training
from tests.training.runs import (
    CPU,
    copied_bundle,
    killed_and_whole,
    losses_of,
    train_spec,
    training_data,
    weights_of,
)

#: All of them need pictures or trainings that take seconds.
pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def built(phantoms: str, family: Path) -> tuple[DmdLoraRecipe, TrainingData]:
    """Two sampling steps, an unguided teacher, turns of one step; and its rows."""
    spec = train_spec(phantoms, family, "dmd-lora", batch=4, guidance=1.0, critic_steps=1)
    return DmdLoraRecipe(spec, CPU), training_data(spec)


@pytest.fixture
def data(built: tuple[DmdLoraRecipe, TrainingData]) -> TrainingData:
    return built[1]


@pytest.fixture
def recipe(built: tuple[DmdLoraRecipe, TrainingData]) -> Iterator[DmdLoraRecipe]:
    """The recipe before its first step."""
    found, trained = built[0], [parameter for parameter in built[0].parameters() if parameter.requires_grad]
    before = [parameter.detach().clone() for parameter in trained]
    yield found
    found.train().zero_grad(set_to_none=True)
    for parameter, value in zip(trained, before, strict=True):
        parameter.data.copy_(value)


def with_values(recipe: DmdLoraRecipe, patch: pytest.MonkeyPatch, **values: Any) -> DmdLoraRecipe:
    patch.setattr(recipe, "_spec", recipe._spec.model_copy(update=values))
    return recipe


@torch.no_grad()
def change(unet: torch.nn.Module) -> None:
    """Weights of the LoRA as if it had been trained."""
    rng = torch.Generator().manual_seed(1)
    for parameter in unet.parameters():
        if parameter.requires_grad:
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=rng))


def gradients(unet: torch.nn.Module) -> list[torch.Tensor]:
    return [parameter.grad for parameter in unet.parameters() if parameter.grad is not None]


def test_equal_ideas_give_no_gradient_and_others_point_from_the_teachers_to_the_critics() -> None:
    images, real, fake = torch.randn(3, 2, 4, 8, 8)
    assert torch.equal(matching_gradient(images, real, real), torch.zeros_like(images))
    distance = (images - real).abs().mean((1, 2, 3))[:, None, None, None]
    torch.testing.assert_close(matching_gradient(images, real, fake) * distance, fake - real)
    assert bool(torch.isfinite(matching_gradient(real, real, fake)).all()), "also where images are the teacher's"


def test_the_loss_has_the_given_gradient() -> None:
    images, wanted = torch.randn(2, 4, 8, 8, requires_grad=True), torch.randn(2, 4, 8, 8)
    matching_loss(images, wanted).backward()
    torch.testing.assert_close(images.grad, wanted / wanted.numel(), rtol=1e-4, atol=1e-7)


def test_between_two_gaussians_the_gradient_is_the_difference_of_their_means() -> None:
    """With unit variance the best denoiser of N(m, 1) is m + sqrt(abar) (x - sqrt(abar) m)."""
    mean, abar, images = 0.7, 0.3, torch.randn(1, 4, 64, 64) + 0.7
    noisy = abar**0.5 * images + (1 - abar) ** 0.5 * torch.randn_like(images)
    real, fake = (m + abar**0.5 * (noisy - abar**0.5 * m) for m in (0.0, mean))
    scaled = matching_gradient(images, real, fake) * (images - real).abs().mean()
    torch.testing.assert_close(scaled, torch.full_like(images, (1 - abar) * mean), rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_an_untrained_critic_agrees_with_an_unguided_teacher(
    recipe: DmdLoraRecipe, data: TrainingData, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(recipe.student)
    assert float(recipe(data.batch(1, 0, 2))["loss"]) == 0.0
    assert float(with_values(recipe, monkeypatch, guidance=2.0)(data.batch(1, 0, 2))["loss"]) > 0.0
    change(recipe.critic)
    assert float(with_values(recipe, monkeypatch, guidance=1.0)(data.batch(1, 0, 2))["loss"]) > 0.0


def test_critic_and_student_take_turns(
    recipe: DmdLoraRecipe, data: TrainingData, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_values(recipe, monkeypatch, critic_steps=2)
    assert [recipe.trains_student(step) for step in range(6)] == [False, False, True] * 2
    change(recipe.critic)  # the student of an untrained one has nothing to learn
    for step, (trained, idle) in {1: (recipe.critic, recipe.student), 2: (recipe.student, recipe.critic)}.items():
        recipe.zero_grad(set_to_none=True)
        recipe(data.batch(step, 0, 2))["loss"].backward()
        assert any(bool(gradient.any()) for gradient in gradients(trained))
        assert gradients(idle) == []


@torch.no_grad()
def test_validation_measures_both(recipe: DmdLoraRecipe, data: TrainingData) -> None:
    change(recipe.critic)
    losses = recipe.eval()(data.batch(0, 0, 2))
    assert set(losses) == {"loss", "student", "critic"}
    assert float(losses["loss"]) == pytest.approx(float(losses["student"] + losses["critic"]))


def test_the_critic_has_its_own_learning_rate(recipe: DmdLoraRecipe, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [group["lr"] for group in recipe.parameter_groups(0.1)] == [0.1, 0.1]
    with_values(recipe, monkeypatch, critic_learning_rate=0.5)
    assert [group["lr"] for group in recipe.parameter_groups(0.1)] == [0.1, 0.5]
    student, critic = (group["params"] for group in recipe.parameter_groups(0.1))
    for net, grouped in ((recipe.student, student), (recipe.critic, critic)):
        assert {id(p) for p in grouped} == {id(p) for p in net.parameters() if p.requires_grad}


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_a_build_visits_the_students_timesteps(steps: int, family: Path) -> None:
    spec = BuildSpec.model_validate({"sampling": {"scheduler": "lcm", "steps": steps}})
    table = solver_table(spec, family / "bundle")
    assert tuple(int(step) for step in table.timesteps) == lcm_timesteps(steps)
    assert lcm_timesteps(steps)[0] == 999


@torch.no_grad()
def test_images_are_those_of_lcm_sampling(recipe: DmdLoraRecipe, data: TrainingData) -> None:
    """Two steps of diffusers' scheduler, its noise replaced by the drawn one."""
    change(recipe.student)
    shared = recipe._distillation
    step = next(step for step in range(20) if recipe._last_step(data.batch(step, 0, 2)) == 1)
    batch = data.batch(step, 0, 2)
    shown, draws = shared.shown(batch), shared.networks.noising
    scheduler = LCMScheduler.from_config(SCHEDULER_CONFIG)
    scheduler.set_timesteps(2)
    first, last = scheduler.timesteps

    def denoised(latents: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        times = timestep.expand(2)
        noise = predict_noise(recipe.student, latents, times, shown.embeds, shared.residuals(times, shown))
        found: torch.Tensor = scheduler.step(noise, timestep, latents).denoised
        return found

    clean = denoised(draws.normal(batch, "noise", (4, 8, 8)), first)
    noised = draws.add_noise(clean, draws.normal(batch, "noise 1", (4, 8, 8)), last.expand(2))
    torch.testing.assert_close(recipe._images(batch, shown), denoised(noised, last), rtol=1e-3, atol=1e-3)


def test_every_step_of_the_student_is_drawn_and_workers_agree_on_it(
    recipe: DmdLoraRecipe, data: TrainingData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipe, "_timesteps", lcm_timesteps(4))
    drawn = [recipe._last_step(data.batch(step, 0, 2)) for step in range(30)]
    assert set(drawn) == {0, 1, 2, 3}
    assert drawn == [recipe._last_step(data.batch(step, 2, 2)) for step in range(30)]


@pytest.mark.slow
def test_gradients_of_a_batch_are_those_of_its_parts(recipe: DmdLoraRecipe, data: TrainingData) -> None:
    """Rows draw their own noise and timesteps, so two workers train as one."""
    change(recipe.student)
    change(recipe.critic)
    for step in (0, 1):
        found = []
        for parts in ([(0, 4)], [(0, 2), (2, 2)]):
            recipe.zero_grad(set_to_none=True)
            for first, count in parts:
                (recipe(data.batch(step, first, count))["loss"] / len(parts)).backward()
            found.append(torch.cat([g.flatten() for net in (recipe.student, recipe.critic) for g in gradients(net)]))
        torch.testing.assert_close(found[0], found[1], rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_a_student_starts_from_the_named_lora(phantoms: str, family: Path, tmp_path: Path) -> None:
    bundle = copied_bundle(family, tmp_path) / "bundle"
    first = lora_unet(train_spec(phantoms, tmp_path, "dmd-lora"), CPU, "name")
    change(first)
    write_lora(first, bundle, "first", {})
    student = DmdLoraRecipe(train_spec(phantoms, tmp_path, "dmd-lora", start_lora="first"), CPU)
    own, copied = dict(student.student.named_parameters()), dict(first.named_parameters())
    for name, value in copied.items():
        torch.testing.assert_close(own[name], value, rtol=1e-3, atol=1e-3)
    critic = [value for name, value in student.critic.named_parameters() if "lora_B" in name]
    assert not any(bool(value.any()) for value in critic), "the critic begins as the teacher"


@pytest.mark.slow
@torch.no_grad()
def test_without_an_adapter_the_student_is_a_generator_without_control(phantoms: str, family: Path) -> None:
    """Its networks see no residuals, and rows need no control images."""
    spec = train_spec(phantoms, family, "dmd-lora", adapter=None, sampling_steps=1, guidance=1.0)
    recipe, batch = DmdLoraRecipe(spec, CPU), training_data(spec).batch(0, 0, 2)
    shared = recipe._distillation
    shown, at = shared.shown(batch), torch.full((2,), 999)
    assert shown.condition is None
    assert shared.residuals(at, shown) is None
    noise = shared.networks.noising.normal(batch, "noise", (4, 8, 8))
    plain = shared.clean(noise, predict_noise(frozen_unet(spec, CPU), noise, at, shown.embeds, None), at)
    assert torch.equal(recipe._images(batch, shown), plain)
    assert len(recipe.preview(batch)) == 2


def test_a_dmd_lora_says_how_it_is_sampled(phantoms: str, family: Path, tmp_path: Path) -> None:
    folder = copied_bundle(family, tmp_path)
    run_training(train_spec(phantoms, folder, "dmd-lora", critic_steps=1, validate_steps=4))
    assert read_trained_sampling(folder / "bundle" / "loras" / "dmd") == TrainedSampling("lcm", (999, 499))
    assert (folder / "dmd-lora" / "previews" / "0000004.png").exists()
    trained = [line for line in losses_of(folder / "dmd-lora") if line["loss"]]
    assert [bool(line["student"]) for line in trained] == [False, True, False, True]


@pytest.mark.slow
def test_a_killed_run_resumes_bit_for_bit(phantoms: str, family: Path, tmp_path: Path) -> None:
    """Weights of both, whoever's turn it was."""
    cut, whole = killed_and_whole(family, phantoms, tmp_path, "dmd-lora", steps=8, critic_steps=2)
    first, second = weights_of(whole), weights_of(cut)
    assert {name.split(".")[0] for name in first} == {"student", "critic"}
    assert all(torch.equal(first[name], second[name]) for name in first)
