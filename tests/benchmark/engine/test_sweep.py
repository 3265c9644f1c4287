"""The engine's benchmark, small and real: its figures are of the same pictures, and it runs where there is no Ray."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dentgen.benchmark.engine import sweep
from dentgen.benchmark.engine.clock import run_side_by_side
from dentgen.benchmark.engine.pictures import compare_pictures
from dentgen.benchmark.engine.sweep import combinations, run_sweep
from dentgen.errors import EngineError, OutOfMemoryError, SpecError
from tests.conftest import ROOT

DEMO_SPEC = ROOT / "jobs/specs/demo.yaml"
CPU = torch.device("cpu")
#: What a machine that only measures need not have.
ABSENT = ("ray", "webdataset", "s3fs", "pyarrow", "scipy", "pandas", "boto3", "typer", "pygal", "torchvision")


def silent(line: str) -> None:
    pass


def test_the_contestants_make_the_same_pictures_and_are_compared(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    specs = combinations(DEMO_SPEC, ["sampling.steps=3"], model="miniature", slots=[4], variants=[2])
    report = run_sweep(specs, CPU, times=1, rounds=1, file=file, say=silent)
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
def test_the_command_needs_neither_ray_nor_a_network(tmp_path: Path) -> None:
    small = ["--slots", "1", "--times", "1", "--variants", "1", "--rounds", "1", "--set", "sampling.steps=2"]
    command = ["jobs/benchmark.py", "engine", *small, "--json", str(tmp_path / "figures.json")]
    program = (
        f"import runpy, sys; sys.modules.update(dict.fromkeys({ABSENT!r})); sys.argv = {command!r}; "
        "runpy.run_path('jobs/benchmark.py', run_name='__main__')"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]
    assert "engine_over_networks" in json.loads((tmp_path / "figures.json").read_text())["ratios"]


def test_a_combination_without_memory_does_not_end_the_sweep(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def experiment(spec: Any, bundle: Any, **options: Any) -> dict[str, Any]:
        if spec.engine.slots == 64:
            raise OutOfMemoryError("64 slots do not fit")
        figures = {"ratios": {"slots": spec.engine.slots}, "spread": {}, "of_predicted": {}, "limits": {}}
        return {**figures, "third": 1 / 3}

    monkeypatch.setattr(sweep, "run_experiment", experiment)
    specs = combinations(DEMO_SPEC, [], model="miniature", slots=[64, 8, 4])
    report = run_sweep(specs, CPU, times=1, rounds=1, file=tmp_path / "figures.json", say=silent)
    assert report["ratios"] == {"slots": 8}, "the headline is the first combination that could be measured"
    assert "64 slots" in report["experiments"][0]["error"]
    assert report["experiments"][2]["third"] == 0.3333


def test_lists_become_combinations() -> None:
    specs = combinations(DEMO_SPEC, [], model="sd15", slots=[16, 32], variants=[1, 4], decoders=["kl", "tiny"])
    assert len({(s.engine.slots, s.sampling.variants, s.model.decoder) for s in specs}) == 8
    assert {(s.conditions.size, len(s.model.adapters)) for s in specs} == {(512, 0)}


def test_other_work_is_refused() -> None:
    specs = combinations(DEMO_SPEC, ["sampling.guidance_scale=2"], model="miniature")
    with pytest.raises(SpecError, match="plain sampling"):
        run_sweep(specs, CPU, times=1, rounds=1, file=None, say=silent)


def test_different_pictures_are_refused() -> None:
    pictures = {key: np.full((8, 8, 3), level, np.uint8) for key, level in (("a", 10), ("b", 200))}
    one_off = {key: picture + np.uint8(1) for key, picture in pictures.items()}
    two_off = {key: picture + np.uint8(2) for key, picture in pictures.items()}
    swapped = {"a": pictures["b"], "b": pictures["a"]}
    assert compare_pictures(pictures, one_off, torch.float32)["largest"] == 1
    assert compare_pictures(pictures, two_off, torch.float16)["mean_to_neighbour"] > 180
    for theirs, dtype in ((two_off, torch.float32), (swapped, torch.float16)):
        with pytest.raises(EngineError, match="different pictures"):
            compare_pictures(pictures, theirs, dtype)


def test_contestants_take_turns() -> None:
    order: list[str] = []

    def pieces(name: str, count: int) -> Iterator[str]:
        for _ in range(count):
            order.append(name)
            sum(range(200_000))
            yield "piece"

    laps = run_side_by_side({"short": pieces("short", 4), "long": pieces("long", 12)}, CPU)
    assert order.count("long") == 12
    assert set(order[:4]) == {"short", "long"}
    assert laps["long"].total > laps["short"].total
    assert laps["long"].kinds["piece"] <= laps["long"].total
