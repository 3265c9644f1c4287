"""Recipes ``controlnet`` and ``control-lora``: both are written as ControlNets that load and control."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dentgen.models.bundle import load_bundle
from dentgen.training.recipes.controlnet import ControlNetRecipe
from dentgen.training.run import run_training
from tests.training.runs import CPU, copied_bundle, train_spec


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["controlnet", "control-lora"])
def test_control_nets_load_and_control(phantoms: str, family: Path, tmp_path: Path, recipe: str) -> None:
    folder = copied_bundle(family, tmp_path)
    run_training(train_spec(phantoms, folder, recipe, name="full", learning_rate=0.01, validate_steps=4))
    full = load_bundle(str(folder / "bundle"), controlnets=["full"]).full["full"]
    latents, hints = torch.zeros(1, 4, 8, 8), torch.rand(1, 3, 64, 64)
    embeds = torch.zeros(1, 77, 128)
    _, middle = full.network(latents, torch.tensor([5]), embeds, controlnet_cond=full.hint(hints), return_dict=False)
    assert float(middle.abs().sum()) > 0, "its zero convolutions have moved"


@pytest.mark.integration
def test_a_control_lora_trains_less_than_a_control_net(phantoms: str, family: Path) -> None:
    def trained(recipe: str) -> dict[str, int]:
        net = ControlNetRecipe(train_spec(phantoms, family, recipe), CPU)
        return {name: p.numel() for name, p in net.named_parameters() if p.requires_grad}

    whole, lora = trained("controlnet"), trained("control-lora")
    assert sum(lora.values()) < 0.5 * sum(whole.values())
    assert all(any(word in name for word in ("lora_", "modules_to_save")) for name in lora)
    assert any("controlnet_cond_embedding" in name for name in lora), "a fresh hint embedding is trained whole"
