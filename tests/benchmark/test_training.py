"""Training rates: every spec and precision has its figures, and what fails is named while the rest goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from dentgen.benchmark.training import benchmark_training
from tests.conftest import JAWS, ROOT

SMALL = (f"source.path={JAWS}", "source.split=null", "stream=true", "batch=2")


@pytest.mark.slow
def test_every_spec_has_its_figures(tmp_path: Path) -> None:
    lines, file = list[str](), tmp_path / "figures.json"
    specs = [ROOT / "jobs" / "miniature" / f"{name}.yaml" for name in ("autoencoder", "base")]
    figures = benchmark_training(
        specs, (*SMALL, "conditions.size=128"), ("bfloat16",), device=torch.device("cpu"), steps=1, work=tmp_path,
        file=file, log=lines.append,
    )  # fmt: skip
    assert len(lines) == 2
    assert json.loads(file.read_text()) == figures
    assert figures["failures"] == {}
    for name in ("autoencoder", "base"):
        seconds, rows = (figures[key][name]["bfloat16"] for key in ("seconds_per_step", "rows_per_second"))
        assert rows == pytest.approx(2 / seconds, rel=0.05)
        assert 0 < figures["loss"][name]["bfloat16"] < 100
    assert (tmp_path / "bfloat16" / "unet" / "config.json").exists(), "what was trained is written"


@pytest.mark.slow
def test_a_diverging_training_is_named(tmp_path: Path) -> None:
    spec = ROOT / "jobs" / "miniature" / "autoencoder.yaml"
    figures = benchmark_training(
        [spec], (*SMALL, "conditions.size=128", "learning_rate=1e30"), ("float32",), device=torch.device("cpu"),
        steps=1, work=tmp_path, file=None, log=print,
    )  # fmt: skip
    assert figures["failures"]["autoencoder"]["float32"].startswith("TrainingError")
    assert "autoencoder" not in figures["seconds_per_step"]
