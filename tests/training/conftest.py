"""Data and a small model family that the training tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from dentgen.training.run import run_training
from tests.conftest import JAWS
from tests.training.runs import train_spec


@pytest.fixture(scope="session")
def phantoms() -> str:
    """Condition records of 20 phantoms at 128 px with photos, half of them in the split ``train``."""
    return str(JAWS)


@pytest.fixture(scope="session")
def family(phantoms: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder whose ``bundle`` has autoencoder, base and the adapter ``blended``, trained for two steps each."""
    folder = tmp_path_factory.mktemp("family")
    for recipe in ("autoencoder", "base", "adapter"):
        run_training(train_spec(phantoms, folder, recipe, steps=2))
    return folder
