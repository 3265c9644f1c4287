"""Recipe ``reward``: what it adds to the recipe of adapters, for which rows, and where its gradient goes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dentgen.errors import BundleError
from dentgen.models.bundle import load_bundle
from dentgen.training.judged_reward import JudgedReward
from dentgen.training.recipes.adapter import AdapterRecipe
from dentgen.training.recipes.reward import RewardRecipe
from dentgen.training.run import run_training
from tests.training.runs import CPU, linked_bundle, losses_of, train_spec, training_data


def gradients(recipe: torch.nn.Module, step: int, rows: int = 4) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Losses of a step's batch, and gradients by parameter."""
    spec: Any = recipe._spec
    recipe.zero_grad(set_to_none=True)
    losses = recipe(training_data(spec).batch(step, 0, rows, prefetch=False))
    losses["loss"].backward()
    return losses, {name: p.grad for name, p in recipe.named_parameters() if p.grad is not None}


@pytest.mark.slow
@pytest.mark.parametrize("values", [{"weight": 0.0}, {"weight": 0.0, "lighting_weight": 1e-30}])
def test_without_weight_it_is_the_adapter_recipe_bit_for_bit(
    phantoms: str, family: Path, values: dict[str, Any]
) -> None:
    """Losses and gradients, also with a reward whose gradient is too small to add to any number."""
    loss = {"loss": {"tooth": 5, "snr_floor": 0.1}, "batch": 4, "seed": 3}
    recipe = RewardRecipe(train_spec(phantoms, family, "reward", reward_timesteps=[0, 999], **loss, **values), CPU)
    plain = AdapterRecipe(train_spec(phantoms, family, "adapter", **loss), CPU)
    plain.load_state_dict(recipe.state_dict())
    for step in (0, 1):
        (found, slopes), (expected, plain_slopes) = gradients(recipe, step), gradients(plain, step)
        assert (found["loss"].item(), found["mse"].item()) == (expected["loss"].item(), expected["mse"].item())
        assert slopes.keys() == plain_slopes.keys() != set()
        assert all(torch.equal(slopes[name], plain_slopes[name]) for name in slopes)


def test_the_gradient_reaches_the_adapter_alone(phantoms: str, family: Path) -> None:
    values = {"weight": 1e6, "batch": 4, "reward_share": 0.5, "lighting_weight": 1.0}
    recipe = RewardRecipe(train_spec(phantoms, family, "reward", **values), CPU)
    losses, slopes = gradients(recipe, 0)
    assert all(any(part in name for part in ("lora_", "controlnet_", "norm")) for name in slopes)
    unrewarded = RewardRecipe(recipe._spec.model_copy(update={"weight": 0.0, "lighting_weight": 0.0}), CPU)
    _, plain = gradients(unrewarded, 0)
    assert all(float(slope.norm()) > 1e3 * float(plain[name].norm()) for name, slope in slopes.items())
    frozen = (recipe._unet.net, recipe._autoencoder.vae, recipe._judged._judge.net)
    assert all(p.grad is None and not p.requires_grad for net in frozen for p in net.parameters())
    assert float(losses["loss"].detach()) == pytest.approx(1e6 * float(losses["reward"]) / 0.5, rel=1e-2)


def counting(decode: Callable[..., Tensor], counts: list[int]) -> Callable[..., Tensor]:
    def counted(self: JudgedReward, latents: Tensor) -> Tensor:
        counts.append(len(latents))
        return decode(self, latents)

    return counted


@pytest.mark.integration
def test_only_rows_in_the_window_are_decoded_and_rewarded(
    phantoms: str, family: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []
    monkeypatch.setattr(JudgedReward, "pictures", counting(JudgedReward.pictures, counts))
    values: dict[str, Any] = {"batch": 4, "lighting_weight": 0.1}
    some = RewardRecipe(train_spec(phantoms, family, "reward", reward_share=0.25, **values), CPU)
    losses, _ = gradients(some, 0)
    assert counts == [1]
    assert float(losses["rewarded"]) == 0.25
    names = list(losses)
    none = RewardRecipe(train_spec(phantoms, family, "reward", reward_timesteps=[0, 0], **values), CPU)
    plain = AdapterRecipe(train_spec(phantoms, family, "adapter", batch=4), CPU)
    plain.load_state_dict(none.state_dict())
    losses, _ = gradients(none, 0)
    assert counts == [1], "nothing more"
    assert names == list(losses) == ["loss", "mse", "rewarded", "reward", "lighting", "miou", "miou_watch"]
    assert (float(losses["rewarded"]), float(losses["reward"])) == (0, 0)
    assert float(losses["loss"].detach()) == float(gradients(plain, 0)[0]["loss"].detach())


@pytest.mark.slow
@pytest.mark.parametrize("share", [None, 0.5])
def test_parts_add_up_to_the_mean_over_the_rewarded_rows_of_a_step(
    phantoms: str, family: Path, share: float | None
) -> None:
    """Parts of a step, by whichever worker, have the mean loss of the whole step, however unequal their shares."""
    values: dict[str, Any] = {"batch": 8, "reward_share": share, "weight": 5.0, "watch": None}
    recipe = RewardRecipe(train_spec(phantoms, family, "reward", reward_timesteps=[0, 600], **values), CPU)
    data = training_data(recipe._spec)
    with torch.no_grad():
        whole = recipe(data.batch(0, 0, 8, prefetch=False))
        parts = [recipe(data.batch(0, first, 2, prefetch=False)) for first in range(0, 8, 2)]
    for name, value in whole.items():
        assert float(torch.stack([part[name] for part in parts]).mean()) == pytest.approx(float(value), rel=1e-4), name
    mean = float(whole["reward"]) / float(whole["rewarded"])
    unrewarded = RewardRecipe(recipe._spec.model_copy(update={"weight": 0.0}), CPU)
    with torch.no_grad():
        noise = float(unrewarded(data.batch(0, 0, 8, prefetch=False))["loss"])
    assert float(whole["loss"]) == pytest.approx(noise + 5 * mean, rel=1e-4)


@pytest.mark.slow
def test_uncertainty_is_of_two_noises_at_the_same_timestep(phantoms: str, family: Path) -> None:
    values: dict[str, Any] = {"batch": 4, "reward_share": 0.5, "reward_timesteps": [400, 500], "lighting_weight": 0.1}
    single = RewardRecipe(train_spec(phantoms, family, "reward", **values), CPU)
    double = RewardRecipe(train_spec(phantoms, family, "reward", uncertainty=True, **values), CPU)
    batch = training_data(single._spec).batch(0, 0, 4, prefetch=False)
    with torch.no_grad():
        one, two = single(batch), double(batch)
        found = double._predict(double.adapted, batch, ["blended"] * 4, double._rows.timesteps(batch))
        guesses = double._guesses(batch, found, torch.tensor([0, 2]))
    assert [guess.shape for guess in guesses] == [(2, 4, 8, 8)] * 2
    assert not torch.equal(*guesses)
    assert float(two["uncertainty"]) > 0
    assert "uncertainty" not in one
    assert (float(one["mse"]), float(one["miou"])) == (float(two["mse"]), float(two["miou"]))


def test_a_missing_start_is_refused(phantoms: str, family: Path) -> None:
    with pytest.raises(BundleError) as caught:
        RewardRecipe(train_spec(phantoms, family, "reward", adapter="own"), CPU)
    assert (caught.value.found, caught.value.file) == ("no 'own'", str(family / "bundle" / "adapters"))


@pytest.mark.slow
def test_a_run_adds_an_adapter_and_leaves_its_start(phantoms: str, family: Path, tmp_path: Path) -> None:
    folder = linked_bundle(family, tmp_path / "own")
    start = family / "bundle" / "adapters" / "blended" / "adapter_model.safetensors"
    before = start.read_bytes()
    run_training(train_spec(phantoms, folder, "reward", steps=2, reward_share=0.5, name="rewarded"))
    assert start.read_bytes() == before
    one, other = (load_bundle(str(folder / "bundle"), {name}).control for name in ("blended", "rewarded"))
    assert one is not None
    assert other is not None
    theirs = other.state_dict()
    assert any(not torch.equal(value, theirs[name]) for name, value in one.state_dict().items())
    lines = losses_of(folder / "reward")
    assert {"loss", "mse", "reward", "lighting", "miou", "miou_watch"} <= lines[0].keys()
    assert all(0 < float(line["miou"]) <= 1 and float(line["rewarded"]) == 0.5 for line in lines)
