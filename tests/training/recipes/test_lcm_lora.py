"""Recipe ``lcm-lora``: the student's scalings, its draws, and a LoRA that changes the UNet."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import LCMScheduler

from dentgen.errors import BundleError
from dentgen.models.bundle import load_bundle
from dentgen.training.miniature import SCHEDULER_CONFIG
from dentgen.training.recipes.lcm_lora import LcmLoraRecipe, boundary_scalings
from dentgen.training.run import run_training
from tests.training.runs import CPU, copied_bundle, train_spec, training_data


@pytest.mark.slow
def test_an_lcm_lora_loads_and_changes_the_unet(phantoms: str, family: Path, tmp_path: Path) -> None:
    folder = copied_bundle(family, tmp_path)
    run_training(train_spec(phantoms, folder, "lcm-lora", learning_rate=0.01, validate_steps=4))
    plain = load_bundle(str(folder / "bundle")).unet.state_dict()
    tuned = load_bundle(str(folder / "bundle"), loras={"lcm": 1.0}).unet.state_dict()
    assert any(not torch.equal(plain[name], tuned[name]) for name in plain)


def test_boundary_scalings_are_those_of_the_scheduler() -> None:
    scheduler = LCMScheduler.from_config(SCHEDULER_CONFIG)
    for timestep in (0, 1, 259, 999):
        skip, out = scheduler.get_scalings_for_boundary_condition_discrete(timestep)
        own_skip, own_out = boundary_scalings(torch.tensor([timestep]))
        assert float(own_skip) == pytest.approx(float(skip), rel=1e-6)
        assert float(own_out) == pytest.approx(float(out), rel=1e-6)
    skip, out = boundary_scalings(torch.tensor([0]))
    assert (float(skip), float(out)) == (1.0, 0.0), "at timestep 0 the prediction is the input"


@pytest.mark.slow
def test_an_exact_student_is_consistent(phantoms: str, family: Path) -> None:
    """Before training the student is the teacher; without guidance and at timestep 0 the prediction is the input."""
    spec = train_spec(phantoms, family, "lcm-lora")
    recipe = LcmLoraRecipe(spec, CPU)
    shared, latents, zero = recipe._distillation, torch.randn(2, 4, 8, 8), torch.tensor([0, 0])
    shown = shared.shown(training_data(spec).batch(0, 0, 2))
    residuals = shared.residuals(zero, shown)
    assert torch.equal(recipe._predict(recipe.student, latents, zero, shown, residuals), latents)
    later = torch.tensor([500, 500])
    residuals = shared.residuals(later, shown)
    student = recipe._predict(recipe.student, latents, later, shown, residuals)
    teacher = recipe._predict(shared._teacher, latents, later, shown, residuals)
    torch.testing.assert_close(student, teacher)


def test_a_missing_adapter_is_refused(phantoms: str, family: Path) -> None:
    with pytest.raises(BundleError):
        LcmLoraRecipe(train_spec(phantoms, family, "lcm-lora", adapter="own"), CPU)
