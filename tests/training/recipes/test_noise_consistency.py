"""Recipe ``noise-consistency``: noise on an arc, the generator's own picture as the end, resumed runs, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dentgen.conditions.labels import SEG_PALETTE
from dentgen.training.data.rows import TrainingData
from dentgen.training.losses import consistency_loss
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


def test_noise_on_the_arc_stays_standard_and_its_ends_are_the_two_exactly() -> None:
    own, foreign = torch.randn((2, 5, 4, 64, 64), generator=torch.Generator().manual_seed(2))
    share = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0])
    mixed = mixed_noise(own, foreign, share)
    assert torch.equal(mixed[0], own[0])
    torch.testing.assert_close(mixed[4], foreign[4], atol=1e-6, rtol=0)
    torch.testing.assert_close(mixed.var(dim=(1, 2, 3)), torch.ones(5), atol=0.05, rtol=0)
    angles = torch.cosine_similarity(mixed.flatten(1), own.flatten(1)).acos()
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
def test_without_boundary_its_pass_is_not_made(
    built: tuple[NoiseConsistencyRecipe, TrainingData], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, batch = built[0], built[1].batch(0, 0, 4)
    passes, controlled = list[int](), recipe._controlled

    def counted(noise: Tensor, embeds: Tensor, condition: Tensor) -> Tensor:
        passes.append(len(noise))
        return controlled(noise, embeds, condition)

    monkeypatch.setattr(recipe, "_controlled", counted)
    whole = recipe(batch)
    assert passes == [4, 4, 4]
    monkeypatch.setattr(recipe, "_spec", recipe._spec.model_copy(update={"boundary": 0.0}))
    losses = recipe(batch)
    assert passes == [4] * 5
    assert losses.keys() == {"loss"}
    torch.testing.assert_close(losses["loss"] + whole["boundary"], whole["loss"])


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
