"""Recipe ``noise-consistency``: noise on an arc, the generator's own picture as the end, resumed runs, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from dentgen.conditions.labels import SEG_PALETTE
from dentgen.errors import BundleError, SpecError
from dentgen.models.judges import load_judges
from dentgen.models.lora import lora_file
from dentgen.models.trained_sampling import TrainedSampling
from dentgen.training.data.rows import TrainingData
from dentgen.training.lora_student import lora_unet, write_lora
from dentgen.training.losses import consistency_loss
from dentgen.training.noising import Noising
from dentgen.training.one_step_generator import OneStepGenerator
from dentgen.training.preview import predict_noise
from dentgen.training.recipes.noise_consistency import NoiseConsistencyRecipe, mixed_noise
from dentgen.training.run import run_training
from tests.training.runs import CPU, copied_bundle, killed_and_whole, train_spec, training_data, weights_of

RECIPE = "noise-consistency"


def spec_of(phantoms: str, folder: Path, **values: Any) -> Any:
    return train_spec(phantoms, folder, RECIPE, **{"batch": 4, "levels": 4, **values})


@pytest.fixture(scope="module")
def built(phantoms: str, family: Path) -> tuple[NoiseConsistencyRecipe, TrainingData]:
    spec = spec_of(phantoms, family)
    return NoiseConsistencyRecipe(spec, CPU), training_data(spec)


def add_lora(bundle: Path, phantoms: str, name: str, header: dict[str, str], scale: float = 0.05) -> None:
    """A LoRA with weights as if it had been trained."""
    unet, rng = lora_unet(train_spec(phantoms, bundle.parent, "dmd-lora"), CPU, name), torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in unet.parameters():
            if parameter.requires_grad:
                parameter.copy_(scale * torch.randn(parameter.shape, generator=rng))
    write_lora(unet, bundle, name, header)


def test_noise_on_the_arc_stays_standard_and_its_ends_are_the_two_exactly() -> None:
    own, foreign = torch.randn(2, 5, 4, 64, 64)
    share = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0])
    mixed = mixed_noise(own, foreign, share)
    assert torch.equal(mixed[0], own[0])
    torch.testing.assert_close(mixed[4], foreign[4], atol=1e-6, rtol=0)
    torch.testing.assert_close(mixed.var(dim=(1, 2, 3)), torch.ones(5), atol=0.05, rtol=0)
    angles = torch.stack([(a * b).mean() for a, b in zip(mixed, own, strict=True)]).clamp(-1, 1).acos()
    torch.testing.assert_close(angles[1:4], share[1:4] * torch.pi / 2, atol=0.05, rtol=0)


@torch.no_grad()
def test_an_adapter_that_adds_nothing_meets_the_boundary(
    built: tuple[NoiseConsistencyRecipe, TrainingData], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its last convolutions at zero only the noise differs."""
    recipe, data = built
    for name, parameter in recipe.adapted.named_parameters():
        if "controlnet_down_blocks" in name or "controlnet_mid_block" in name:
            monkeypatch.setattr(parameter, "data", torch.zeros_like(parameter))
    losses = recipe(data.batch(0, 0, 4))
    assert float(losses["boundary"]) == 0.0
    assert float(losses["loss"]) > 0.01


@torch.no_grad()
def test_the_loss_is_the_distance_of_neighbours_on_the_arc(
    built: tuple[NoiseConsistencyRecipe, TrainingData], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written once more from the definition, with the level drawn for every row."""
    recipe, data = built
    batch = data.batch(1, 0, 4)
    change(recipe.adapted, monkeypatch)
    levels = recipe._levels(batch)
    embeds, normal = recipe._text(recipe._noising.prompts(batch)), recipe._noising.normal
    own, foreign = normal(batch, "noise", (4, 8, 8)), normal(batch, "foreign noise", (4, 8, 8))
    made = recipe._generator.clean(own, embeds)
    pictures = recipe._autoencoder.decode(made).clamp(-1, 1)
    seen = recipe._judge.logits(pictures).argmax(1).numpy()
    control = torch.from_numpy(SEG_PALETTE[seen]).permute(0, 3, 1, 2) / 255
    condition = recipe._autoencoder.encode(control)

    def drawn(level: Tensor) -> Tensor:
        return recipe._controlled(mixed_noise(own, foreign, level / 4), embeds, condition)

    nearer, further = drawn(levels - 1), drawn(levels)
    target = torch.stack([made[i] if level == 1 else nearer[i] for i, level in enumerate(levels.tolist())])
    boundary = consistency_loss(drawn(torch.zeros(4)), made)
    losses = recipe(batch)
    torch.testing.assert_close(losses["loss"], consistency_loss(further, target) + boundary)
    assert float(boundary) > 0
    assert {1, 2, 3, 4} == {int(level) for step in range(8) for level in recipe._levels(data.batch(step, 0, 4))}


def change(net: torch.nn.Module, patch: pytest.MonkeyPatch) -> None:
    """Weights as if trained, until the test ends."""
    rng = torch.Generator().manual_seed(1)
    for parameter in net.parameters():
        if parameter.requires_grad:
            patch.setattr(parameter, "data", parameter.data + 0.05 * torch.randn(parameter.shape, generator=rng))


def test_the_gradient_reaches_the_adapter_alone_and_not_the_target(
    built: tuple[NoiseConsistencyRecipe, TrainingData], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, data = built
    change(recipe.adapted, monkeypatch)
    targets: list[Tensor] = []
    original = consistency_loss

    def noted(answer: Tensor, target: Tensor) -> Tensor:
        targets.append(target)
        return original(answer, target)

    monkeypatch.setattr("dentgen.training.recipes.noise_consistency.consistency_loss", noted)
    recipe(data.batch(0, 0, 4))["loss"].backward()
    assert len(targets) == 2
    assert not any(target.requires_grad for target in targets)
    moved = [name for name, parameter in recipe.named_parameters() if parameter.grad is not None]
    assert moved
    assert all(name.startswith("adapted.") for name in moved)
    frozen = (recipe._generator._unet.net, recipe._autoencoder.vae, recipe._judge.net)
    assert not any(parameter.requires_grad for net in frozen for parameter in net.parameters())
    recipe.zero_grad(set_to_none=True)


@torch.no_grad()
def test_the_generator_is_the_unet_with_its_lora_in_one_step(phantoms: str, family: Path, tmp_path: Path) -> None:
    folder = copied_bundle(family, tmp_path)
    add_lora(folder / "bundle", phantoms, "quick", TrainedSampling("lcm", (759,)).header())
    spec = spec_of(phantoms, folder, generator="quick")
    noising, noise = Noising(spec, CPU), torch.randn(2, 4, 8, 8)
    recipe = NoiseConsistencyRecipe(spec, CPU)
    embeds = recipe._text(["teeth", "gums"])
    unet = lora_unet(train_spec(phantoms, folder, "dmd-lora"), CPU, "x")
    unet.delete_adapters("default")
    plain = OneStepGenerator(spec_of(phantoms, folder), noising, CPU).clean(noise, embeds)
    at = torch.full((2,), 999)
    expected = noising.denoise(noise, predict_noise(unet, noise, at, embeds, None), at)
    torch.testing.assert_close(plain, expected)
    unet.load_lora_adapter(load_file(lora_file(folder / "bundle" / "loras" / "quick")), prefix="unet")
    at = torch.full((2,), 759)
    expected = noising.denoise(noise, predict_noise(unet, noise, at, embeds, None), at)
    torch.testing.assert_close(recipe._generator.clean(noise, embeds), expected, rtol=1e-3, atol=1e-3)
    assert not torch.allclose(plain, expected, atol=0.05)


def test_generators_of_several_steps_and_missing_ones_are_refused_by_name(
    phantoms: str, family: Path, tmp_path: Path
) -> None:
    folder = copied_bundle(family, tmp_path)
    add_lora(folder / "bundle", phantoms, "slow", TrainedSampling("lcm", (999, 499)).header())
    with pytest.raises(SpecError) as caught:
        NoiseConsistencyRecipe(spec_of(phantoms, folder, generator="slow"), CPU)
    assert (caught.value.key, caught.value.found, caught.value.expected) == ("generator", "2 steps", "one")
    with pytest.raises(BundleError):
        NoiseConsistencyRecipe(spec_of(phantoms, folder, generator="nobody"), CPU)


def test_no_boundary_no_second_pass(phantoms: str, family: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = spec_of(phantoms, family, boundary=0.0)
    recipe, data = NoiseConsistencyRecipe(spec, CPU), training_data(spec)
    assert recipe(data.batch(0, 0, 4)).keys() == {"loss"}


@pytest.mark.slow
def test_a_run_killed_and_resumed_has_the_bits_of_one_that_was_not(
    phantoms: str, family: Path, tmp_path: Path
) -> None:  # fmt: skip
    cut, whole = killed_and_whole(family, phantoms, tmp_path, RECIPE, steps=8, levels=2)
    first, second = weights_of(cut), weights_of(whole)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.slow
def test_the_adapter_lands_in_the_bundle_with_a_preview(phantoms: str, family: Path, tmp_path: Path) -> None:
    folder = copied_bundle(family, tmp_path)
    run_training(spec_of(phantoms, folder, name="quick-control", validate_steps=4))
    assert (folder / "bundle" / "adapters" / "quick-control" / "adapter_model.safetensors").exists()
    assert (folder / RECIPE / "previews" / "0000004.png").exists()


def test_judges_are_those_of_the_gate(built: tuple[NoiseConsistencyRecipe, TrainingData]) -> None:
    pictures = torch.rand(2, 3, 128, 128) * 2 - 1
    expected = load_judges("embedded").networks["unet"](pictures).argmax(1)
    assert torch.equal(built[0]._judge.labels(pictures), expected)
