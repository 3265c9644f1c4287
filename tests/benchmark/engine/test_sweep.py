"""The engine's benchmark, small and real: its figures are of the same images, and it survives a failing combination."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from dentgen.benchmark.engine import sweep
from dentgen.benchmark.engine.sweep import combinations, run_sweep
from dentgen.errors import OutOfMemoryError
from tests.benchmark.engine.conftest import DEMO_SPEC

CPU = torch.device("cpu")


def ignore(*_: object) -> None:
    """Neither log nor progress."""


@pytest.mark.slow
def test_contestants_generate_the_same_images_and_are_compared(tmp_path: Path) -> None:
    file, done = tmp_path / "figures.json", []
    overrides = ["sampling.steps=2", "conditions.size=64"]
    specs = combinations(DEMO_SPEC, overrides, model="miniature", slots=[2], variants=[2])
    report = run_sweep(
        specs, CPU, times=1, rounds=1, file=file, log=ignore, progress=lambda *counts: done.append(counts)
    )
    assert done == [(0, 1), (1, 1)]
    assert json.loads(file.read_text()) == report
    (found,) = report["experiments"]
    assert found["setting"]["pictures"] == 16, "eight records fill a batch of the encoder"
    assert found["pictures"]["largest"] <= 1 < found["pictures"]["mean_to_neighbour"]
    compared = {"engine_over_diffusers_batched", "engine_over_diffusers_ddim20"}
    assert set(report["ratios"]) == {"engine_over_networks", "predicted", *compared}
    assert set(report["ratios"]["predicted"]) == set(report["of_predicted"]) == compared
    assert 1 < report["ratios"]["predicted"]["engine_over_diffusers_batched"] < 1.3, "two variants share their control"
    assert report["ratios"]["predicted"]["engine_over_diffusers_ddim20"] > 5
    assert found["bits"]["alone"] == {"equal": True, "largest": 0.0}
    assert set(report["limits"]) >= {"unet", "control", "encode", "decode", "text", "overhead"}
    assert set(found["latency_ms"]) == {"in_one_slot", "in_all_slots"}


@pytest.mark.slow
def test_a_combination_without_memory_does_not_end_the_sweep(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def experiment(spec: Any, bundle: Any, **options: Any) -> dict[str, Any]:
        if spec.engine.slots == 64:
            raise OutOfMemoryError("64 slots do not fit")
        figures = {"ratios": {"slots": spec.engine.slots}, "spread": {}, "of_predicted": {}, "limits": {}}
        return {**figures, "third": 1 / 3}

    monkeypatch.setattr(sweep, "run_experiment", experiment)
    specs = combinations(DEMO_SPEC, [], model="miniature", slots=[64, 8])
    report = run_sweep(specs, CPU, times=1, rounds=1, file=tmp_path / "figures.json", log=ignore, progress=ignore)
    assert report["ratios"] == {"slots": 8}, "the headline is the first combination that could be measured"
    assert "64 slots" in report["experiments"][0]["error"]
    assert report["experiments"][1]["third"] == 0.3333
    assert report["matmul_tflops"].keys() == {"torch.float32"}


def test_lists_become_combinations() -> None:
    specs = combinations(DEMO_SPEC, [], model="sd15", slots=[16, 32], variants=[1, 4], decoders=["kl", "tiny"])
    assert len({(s.engine.slots, s.sampling.variants, s.model.decoder) for s in specs}) == 8
    assert {(s.conditions.size, len(s.model.adapters)) for s in specs} == {(512, 0)}
