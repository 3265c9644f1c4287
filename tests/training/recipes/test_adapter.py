"""Recipes ``adapter`` and ``control-base``: what trains, what stays, what the loader takes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from dentgen.models.bundle import load_bundle
from dentgen.models.control import load_control
from dentgen.spec.train_sections import ControlKind
from dentgen.training.recipes.adapter import AdapterRecipe, ControlBaseRecipe, shown_kind
from dentgen.training.run import run_training
from tests.training.runs import CPU, copied_bundle, train_spec, training_data


def test_a_trained_adapter_loads_and_its_config_is_reproducible(family: Path) -> None:
    assert load_bundle(str(family / "bundle"), {"blended"}).control is not None
    config = json.loads((family / "bundle" / "adapters" / "blended" / "adapter_config.json").read_text())
    assert config["target_modules"] == sorted(config["target_modules"]), "peft's own order is that of a set"
    assert config["r"] == 4


def test_an_adapter_trains_loras_zero_convolutions_and_norms(phantoms: str, family: Path) -> None:
    recipe = AdapterRecipe(train_spec(phantoms, family, "adapter"), CPU)
    trained = [name for name, parameter in recipe.named_parameters() if parameter.requires_grad]
    assert all(any(word in name for word in ("lora_", "controlnet_", "norm")) for name in trained)
    assert any("lora_A" in name for name in trained)
    assert any("controlnet_mid_block" in name for name in trained)


def test_a_share_of_blended_rows_shows_bare_teeth() -> None:
    def kinds(control_image: ControlKind, share: float) -> list[str]:
        return [shown_kind(control_image, share, draw) for draw in (0.0, 0.19, 0.21, 0.99)]

    assert kinds("blended", 0.2) == ["blended-teeth", "blended-teeth", "blended", "blended"]
    assert kinds("blended", 0.0) == ["blended"] * 4
    assert kinds("blended", 1.0) == ["blended-teeth"] * 4
    assert kinds("normal", 0.2) == ["normal"] * 4


@pytest.mark.slow
def test_a_control_base_keeps_its_tasks_apart(phantoms: str, family: Path, tmp_path: Path) -> None:
    folder = copied_bundle(family, tmp_path)
    before = load_control(folder / "bundle" / "controlnet", torch.float32).state_dict()
    bundle = str(folder / "bundle")
    run_training(train_spec(phantoms, folder, "control-base", tasks=["segmentation", "normal"], start=bundle))
    after = load_control(folder / "bundle" / "controlnet", torch.float32).state_dict()
    assert sum(not torch.equal(before[name], after[name]) for name in before) > len(before) / 2
    loaded = load_bundle(bundle, {"segmentation", "normal"})
    one, other = (loaded.shared[name].state_dict() for name in ("segmentation", "normal"))
    differing = [name for name in one if not torch.equal(one[name], other[name])]
    assert differing
    assert all("controlnet" not in name and "conv" not in name for name in differing), "LoRAs are on linear layers"


@pytest.mark.slow
def test_a_task_trains_its_own_lora_and_the_base(phantoms: str, family: Path) -> None:
    bundle = str(family / "bundle")
    spec = train_spec(phantoms, family, "control-base", tasks=["segmentation", "normal"], start=bundle)
    recipe, data = ControlBaseRecipe(spec, CPU), training_data(spec)
    for step, (own, other) in enumerate((("segmentation", "normal"), ("normal", "segmentation"))):
        recipe.zero_grad(set_to_none=True)
        recipe(data.batch(step, 0, 2))["loss"].backward()
        with_gradient = {name for name, parameter in recipe.named_parameters() if parameter.grad is not None}
        assert any(f".{own}." in name for name in with_gradient)
        assert not any(f".{other}." in name for name in with_gradient)
        assert any("base_layer" in name for name in with_gradient)
