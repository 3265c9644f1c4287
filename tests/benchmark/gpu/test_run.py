"""The minutes on a GPU, rehearsed: every phase runs, limits hold, and a bundle comes out."""

from __future__ import annotations

import json
import time
from pathlib import Path

import psutil
import pytest

from dentgen.benchmark.gpu.phases import MINIATURE_SPECS, REHEARSAL, Phase, engine_phases
from dentgen.benchmark.gpu.run import run_gpu_minutes, run_phase
from dentgen.models.bundle import load_bundle
from dentgen.models.pieces import join_pieces
from tests.conftest import ROOT

SPECS = ROOT / "jobs" / "miniature"


@pytest.mark.slow
def test_a_rehearsal_runs_every_phase_and_trains_a_bundle(tmp_path: Path) -> None:
    out, lines = tmp_path / "out", list[str]()
    assert run_gpu_minutes(REHEARSAL, SPECS, out, tmp_path / "work", 1800, lines.append), lines
    phases = json.loads((out / "figures.json").read_text())["phases"]
    names = [phase.name for phase in engine_phases(REHEARSAL)]
    assert list(phases) == [*names, "phantoms", "training-steps", *(f"train-{name}" for name in MINIATURE_SPECS)]
    for name in names:
        assert phases[name]["figures"]["ratios"]["engine_over_networks"] > 0, name
    rates = phases["training-steps"]["figures"]["seconds_per_step"]
    assert set(rates) == set(MINIATURE_SPECS)
    join_pieces(out, tmp_path / "bundle")
    assert load_bundle(str(tmp_path / "bundle")).unet.config["sample_size"] == REHEARSAL.size // 8


def test_a_phase_ends_with_its_limit(tmp_path: Path) -> None:
    began = time.monotonic()
    slow = Phase("slow", ("benchmark", "conditions"), 0.2, figures=True)
    result = run_phase(slow, tmp_path, began + 100, lambda _: None)
    assert result["code"] is None
    assert time.monotonic() - began < 30
    assert not [child for child in psutil.Process().children() if "conditions" in " ".join(child.cmdline())]


@pytest.mark.slow
def test_a_phase_that_fails_says_so(tmp_path: Path) -> None:
    result = run_phase(
        Phase("wrong", ("train", "none.yaml"), 60, figures=False), tmp_path, time.monotonic() + 60, print
    )
    assert result["code"] == 2
    assert "none.yaml" in (tmp_path / "wrong.log").read_text()
