"""Recipe ``pruned-unet``: the whole UNet has nothing to learn, a smaller one learns, and builds take it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from dentgen.errors import BundleError, SpecError
from dentgen.generation.pipeline import Pipeline
from dentgen.models.bundle_check import bundle_problems
from dentgen.models.parts import load_unet
from dentgen.training.recipes.pruned_unet import PrunedUnetRecipe
from dentgen.training.run import run_training
from tests.training.runs import CPU, copied_bundle, killed_and_whole, losses_of, train_spec, training_data, weights_of


def recipe_of(phantoms: str, family: Path, folder: Path, **values: Any) -> PrunedUnetRecipe:
    return PrunedUnetRecipe(spec_of(phantoms, family, folder, **values), CPU)


def spec_of(phantoms: str, family: Path, folder: Path, **values: Any) -> Any:
    own = folder if (folder / "bundle").exists() else copied_bundle(family, folder)
    return train_spec(phantoms, own, "pruned-unet", teacher=str(family / "bundle"), **values)


def losses(recipe: PrunedUnetRecipe) -> dict[str, float]:
    with torch.no_grad():
        found = recipe(training_data(recipe._spec).batch(0, 0, 2))
    return {name: float(value) for name, value in found.items()}


@pytest.mark.integration
def test_the_whole_unet_has_nothing_to_learn(phantoms: str, family: Path, tmp_path: Path) -> None:
    whole = losses(recipe_of(phantoms, family, tmp_path, middle=True))
    assert whole == {"loss": 0.0, "mse": 0.0, "features": 0.0}
    less = losses(recipe_of(phantoms, family, tmp_path, middle=True, attention=[]))
    assert less["mse"] > 0
    assert less["features"] > 0


@pytest.mark.integration
def test_features_weigh_what_they_are_told_to(phantoms: str, family: Path, tmp_path: Path) -> None:
    none, twice = (losses(recipe_of(phantoms, family, tmp_path, features=weight)) for weight in (0.0, 2.0))
    assert twice["loss"] == pytest.approx(none["loss"] + 2 * none["features"], rel=1e-5)


def test_only_the_student_is_trained(phantoms: str, family: Path, tmp_path: Path) -> None:
    recipe = recipe_of(phantoms, family, tmp_path)
    assert all(name.startswith("student.") for name, _ in recipe.named_parameters())
    recipe(training_data(recipe._spec).batch(0, 0, 2))["loss"].backward()
    assert all(parameter.grad is not None for parameter in recipe.parameters())
    assert not any(parameter.requires_grad for parameter in recipe._teacher.net.parameters())


@pytest.mark.slow
def test_a_smaller_unet_comes_closer_to_its_teacher_and_makes_pictures(
    phantoms: str, family: Path, tmp_path: Path
) -> None:
    spec = spec_of(phantoms, family, tmp_path, steps=30, learning_rate=1e-3, batch=4, attention=[])
    run_training(spec)
    lines = [float(line["features"]) for line in losses_of(spec.checkpoints)]
    assert sum(lines[-5:]) < 0.7 * sum(lines[:5])
    unet = load_unet(tmp_path / "bundle" / "unet", torch.float32)
    assert unet.mid_block is None
    assert list(unet.config.down_block_types) == ["DownBlock2D"] * 3
    assert list(bundle_problems(str(tmp_path / "bundle"))) == []
    trained = weights_of(spec.checkpoints)
    assert set(trained) == {f"student.{name}" for name in unet.state_dict()}
    pipe = Pipeline.from_bundle(
        str(tmp_path / "bundle"), adapters={"blended": 1.0}, conditions={"size": 64}, sampling={"steps": 2}
    )
    record = training_data(spec).batch(0, 0, 1).rows[0].record
    seg, light = record.conditions["segmentation"], record.conditions["lighting"]
    assert pipe(segmentation=seg, lighting=light, prompt="teeth").images[0].size == (64, 64)


@pytest.mark.slow
def test_a_killed_run_resumes_bit_for_bit(phantoms: str, family: Path, tmp_path: Path) -> None:
    whole, cut = killed_and_whole(family, phantoms, tmp_path, "pruned-unet", teacher=str(family / "bundle"))
    first, second = weights_of(whole), weights_of(cut)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_parts_that_differ_from_the_teachers_are_refused(phantoms: str, family: Path, tmp_path: Path) -> None:
    config = copied_bundle(family, tmp_path) / "bundle" / "vae" / "config.json"
    config.write_text(config.read_text() + "\n")
    with pytest.raises(SpecError) as caught:
        recipe_of(phantoms, family, tmp_path)
    assert (caught.value.key, str(caught.value.found).split()[1]) == ("bundle", "vae")


def test_a_bundle_does_not_teach_itself(phantoms: str, family: Path, tmp_path: Path) -> None:
    own = copied_bundle(family, tmp_path) / "bundle"
    (tmp_path / "other name").symlink_to(own)
    with pytest.raises(SpecError) as caught:
        PrunedUnetRecipe(train_spec(phantoms, tmp_path, "pruned-unet", teacher=str(tmp_path / "other name")), CPU)
    assert caught.value.key == "teacher"


def test_a_missing_adapter_is_refused(phantoms: str, family: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError):
        recipe_of(phantoms, family, tmp_path, adapter="own")
