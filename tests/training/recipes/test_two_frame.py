"""Recipe ``two-frame``: both frames under one timestep, weighted losses, a resumed run, a LoRA that says what it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

from dentgen.errors import BundleError
from dentgen.generation.pipeline import Pipeline
from dentgen.models.bundle import load_bundle
from dentgen.training.lora_student import WEIGHTS
from dentgen.training.recipes.two_frame import TwoFrameRecipe
from dentgen.training.run import run_training
from tests.training.runs import (
    CPU,
    copied_bundle,
    killed_and_whole,
    linked_bundle,
    train_spec,
    training_data,
    weights_of,
)


def recipe_of(phantoms: str, family: Path, tmp_path: Path, **values: Any) -> TwoFrameRecipe:
    folder = tmp_path / "own"
    own = folder if folder.exists() else linked_bundle(family, folder)
    return TwoFrameRecipe(train_spec(phantoms, own, "two-frame", **values), CPU)


def losses(recipe: TwoFrameRecipe) -> dict[str, float]:
    data = training_data(recipe._spec)
    with torch.no_grad():
        return {name: float(value) for name, value in recipe(data.batch(0, 0, 2)).items()}


@pytest.mark.slow
def test_frames_are_reference_and_target_side_by_side(phantoms: str, family: Path, tmp_path: Path) -> None:
    recipe = recipe_of(phantoms, family, tmp_path)
    batch = training_data(recipe._spec).batch(0, 0, 2)
    left, right = recipe._frames(batch).chunk(2, -1)
    assert torch.equal(left, recipe._networks.autoencoder.pictures(batch))
    assert torch.equal(right, recipe._networks.autoencoder.pictures(batch.partners))
    assert not torch.equal(left, right)
    assert recipe._condition(batch).shape == (2, 4, 8, 16)


@pytest.mark.slow
def test_weights_choose_the_frame_that_counts(phantoms: str, family: Path, tmp_path: Path) -> None:
    """The loss is linear in the weights and does not depend on their sum."""
    edit, both, twice = (
        losses(recipe_of(phantoms, family, tmp_path, reference_weight=reference, edit_weight=target))
        for reference, target in ((0.0, 1.0), (1.0, 1.0), (2.0, 2.0))
    )
    assert both["loss"] == pytest.approx(twice["loss"])
    assert edit["loss"] != pytest.approx(both["loss"], rel=1e-4)
    assert edit["mse"] == both["mse"]


@pytest.mark.slow
def test_an_untrained_lora_changes_no_bit_of_a_picture(phantoms: str, family: Path, tmp_path: Path) -> None:
    """The student begins as the teacher on a canvas of two frames."""
    folder = copied_bundle(family, tmp_path)
    recipe = TwoFrameRecipe(train_spec(phantoms, folder, "two-frame"), CPU)
    recipe.export()
    row = training_data(recipe._spec).batch(0, 0, 1).rows[0]
    seg, light = (row.record.conditions[name] for name in ("segmentation", "lighting"))

    def picture(**model: Any) -> np.ndarray:
        pipe = Pipeline.from_bundle(
            str(folder / "bundle"), adapters={"blended": 1.0}, model=model, conditions={"size": 64},
            sampling={"start_from": "reference", "steps": 2}, engine={"slots": 1},
        )  # fmt: skip
        target = light[:, ::-1].copy()
        made = pipe(segmentation=seg, lighting=light, photo=row.photo, target_lighting=target, prompt=row.prompt)
        return np.asarray(made.images[0])

    assert np.array_equal(picture(), picture(loras={"two-frame": 1.0}))


@pytest.mark.slow
def test_a_two_frame_lora_loads_and_says_what_it_is(phantoms: str, family: Path, tmp_path: Path) -> None:
    folder = copied_bundle(family, tmp_path)
    run_training(train_spec(phantoms, folder, "two-frame", learning_rate=0.01, validate_steps=4))
    plain = load_bundle(str(folder / "bundle")).unet.state_dict()
    tuned = load_bundle(str(folder / "bundle"), loras={"two-frame": 1.0}).unet.state_dict()
    assert any(not torch.equal(plain[name], tuned[name]) for name in plain)
    with safe_open(folder / "bundle" / "loras" / "two-frame" / WEIGHTS, "pt") as file:
        assert json.loads(file.metadata()["dentgen_lora"]) == {"kind": "two-frame", "frames": 2, "kept": "left"}


@pytest.mark.slow
def test_a_killed_run_resumes_bit_for_bit(phantoms: str, family: Path, tmp_path: Path) -> None:
    cut, whole = killed_and_whole(family, phantoms, tmp_path, "two-frame", steps=6)
    first, second = weights_of(whole), weights_of(cut)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.integration
def test_a_missing_adapter_is_refused(phantoms: str, family: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError):
        recipe_of(phantoms, family, tmp_path, adapter="own")
