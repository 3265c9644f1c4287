"""A small model family that every training test shares: 64 px, trained for a few steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dentgen.phantom.shards import PhantomSet, write_phantoms
from dentgen.spec.train import TrainSpec
from dentgen.training.run import run_training


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> str:
    place = str(tmp_path_factory.mktemp("phantoms"))
    write_phantoms(place, PhantomSet(10, 4, 64, 5), workers=1)
    return place


def train_spec(phantoms: str, folder: Path, recipe: str, **values: Any) -> TrainSpec:
    """A run of a few steps at 64 px."""
    defaults = {
        "recipe": recipe, "data": phantoms, "split": "", "bundle": str(folder / "bundle"), "size": 64,
        "checkpoints": str(folder / recipe), "steps": 4, "batch": 2, "warmup": 1, "log_steps": 1,
        "validate_split": "",
    }  # fmt: skip
    if recipe in {"control-base", "adapter", "control-lora", "lcm-lora"}:
        defaults["rank"] = 4
    return TrainSpec.model_validate(defaults | values)


@pytest.fixture(scope="session")
def family(phantoms: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder whose ``bundle`` has autoencoder, base and the adapter ``blended``."""
    folder = tmp_path_factory.mktemp("family")
    for recipe in ("autoencoder", "base", "adapter"):
        run_training(train_spec(phantoms, folder, recipe, steps=2))
    return folder
