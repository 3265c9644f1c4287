"""Recipe ``judge``: it learns, resumes, and writes what the gate loads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dentgen.models.judges import load_judges
from dentgen.training.recipes.judge import JudgeRecipe
from dentgen.training.run import run_training
from tests.training.runs import CPU, train_spec, training_data


def test_a_judge_learns_its_labels(phantoms: str, tmp_path: Path) -> None:
    spec = train_spec(phantoms, tmp_path, "judge", steps=12, batch=4, learning_rate=1e-2, warmup=1)
    run_training(spec)
    judges, batch = load_judges(spec.bundle), training_data(spec).batch(0, 0, 4)
    assert (list(judges.networks), judges.size) == (["unet"], spec.conditions.size)
    seen = judges.probabilities(batch.photos).argmax(1)
    known = batch.seg != 255
    assert (seen == batch.seg)[known].mean() > 0.5


def test_light_focus_and_noise_change_only_where_the_spec_says_so(phantoms: str, tmp_path: Path) -> None:
    plain = train_spec(phantoms, tmp_path, "judge", photometric=False)
    changed = train_spec(phantoms, tmp_path, "judge", photometric=True)
    batch = training_data(plain).batch(0, 0, 2)
    first, second = (JudgeRecipe(spec, CPU).forward(batch)["loss"] for spec in (plain, changed))
    assert first != second
    assert JudgeRecipe(changed, CPU).forward(batch)["loss"] == second


def test_loss_and_accuracy_of_known_pixels(phantoms: str, tmp_path: Path) -> None:
    spec = train_spec(phantoms, tmp_path, "judge", photometric=False)
    recipe, batch = JudgeRecipe(spec, CPU), training_data(spec).batch(0, 0, 2)
    losses = recipe.forward(batch)
    assert losses["loss"].item() == pytest.approx(np.log(3), abs=0.7)
    assert 0 <= losses["accuracy"].item() <= 1
    assert losses["loss"].requires_grad
    assert [image.shape[0] for image in recipe.preview(batch)] == [2, 2, 2]
