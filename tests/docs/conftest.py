"""A folder like the one that the documentation's examples run in, with a small dataset in place of the demo."""

from __future__ import annotations

from pathlib import Path

import pytest

from dentgen.pipeline.run import build
from dentgen.spec.yaml_file import read_spec
from tests.conftest import JAWS, ROOT

SMALL = ("source.limit=6", "conditions.size=64", "sampling.variants=2", "sampling.steps=2", "engine.slots=4")


@pytest.fixture(scope="session")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with ``jobs/`` and a dataset of six records in ``out/demo``."""
    folder = tmp_path_factory.mktemp("examples")
    (folder / "jobs").symlink_to(ROOT / "jobs")
    overrides = [f"source.path={JAWS}", f"output.path={folder / 'out' / 'demo'}", *SMALL]
    build(read_spec(ROOT / "jobs" / "specs" / "demo.yaml", overrides), use_ray=False)
    return folder


@pytest.fixture
def in_examples(examples: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same folder, as the working directory."""
    monkeypatch.chdir(examples)
    return examples
