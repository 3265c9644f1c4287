"""The loop: a stopped run resumes to the same bits; accumulation, precision and storage change nothing but rounding."""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from dentgen.errors import SpecError, TrainingError
from dentgen.training.journal import Journal
from dentgen.training.run import run_training
from tests.conftest import ROOT
from tests.training.runs import copied_bundle, linked_bundle, losses_of, train_spec, wait_for_lines, weights_of


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["adapter", "reward"])
def test_a_run_killed_at_any_time_continues_its_curve(
    phantoms: str, family: Path, tmp_path: Path, recipe: str, caplog: pytest.LogCaptureFixture
) -> None:
    """SIGKILL, twice; log and weights are those of an undisturbed run."""
    whole, cut = linked_bundle(family, tmp_path / "whole"), linked_bundle(family, tmp_path / "cut")
    values: dict[str, Any] = {
        "steps": 12,
        "checkpoint_seconds": 0.0,
        "accumulate": 2,
        "name": "own",
        "threads": 1,
        "loss": {"tooth": 5.0},
    }
    if recipe == "reward":
        values |= {"reward_timesteps": [0, 500], "lighting_weight": 0.1}
    run_training(train_spec(phantoms, whole, recipe, **values))
    spec = train_spec(phantoms, cut, recipe, **values)
    file = tmp_path / "spec.yaml"
    file.write_text(spec.model_dump_json())
    for wanted in (3, 7):
        process = subprocess.Popen([sys.executable, str(ROOT / "jobs" / "train.py"), str(file)], cwd=ROOT)
        wait_for_lines(cut / recipe / "losses.csv", wanted, process)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    with caplog.at_level(logging.INFO):
        run_training(spec)
    assert max(int(step) for step in re.findall(r"resuming at step (\d+)", caplog.text)) >= 7
    assert losses_of(cut / recipe) == losses_of(whole / recipe)
    assert [int(row["step"]) for row in losses_of(cut / recipe)] == list(range(1, 13))
    assert same_weights(cut / recipe, whole / recipe)


def same_weights(one: Path, other: Path) -> bool:
    a, b = weights_of(one), weights_of(other)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in b)


@pytest.mark.slow
@pytest.mark.parametrize("interrupted_at", [2, 3])
def test_ctrl_c_leaves_a_checkpoint_that_resumes_to_the_same_bits(
    phantoms: str, family: Path, tmp_path: Path, interrupted_at: int, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """Also between two lines of the log, whose means then cover steps of both processes."""
    whole, cut = linked_bundle(family, tmp_path / "whole"), linked_bundle(family, tmp_path / "cut")
    values = {"steps": 5, "name": "own", "log_steps": 2}
    run_training(train_spec(phantoms, whole, "adapter", **values))
    spec = train_spec(phantoms, cut, "adapter", **values)
    with monkeypatch.context() as patched:
        patched.setattr(Journal, "advance", interrupting(interrupted_at, Journal.advance))
        with pytest.raises(KeyboardInterrupt):
            run_training(spec)
    with caplog.at_level(logging.INFO):
        run_training(spec)
    assert f"resuming at step {interrupted_at}\n" in caplog.text
    assert losses_of(cut / "adapter") == losses_of(whole / "adapter")
    assert same_weights(cut / "adapter", whole / "adapter")


def interrupting(step: int, advance: Callable[[Journal], None]) -> Callable[[Journal], None]:
    """``Journal.advance`` with Ctrl-C pressed at a step."""
    count = 0

    def advance_and_interrupt(journal: Journal) -> None:
        nonlocal count
        count += 1
        advance(journal)
        if count == step:
            signal.raise_signal(signal.SIGINT)

    return advance_and_interrupt


@pytest.mark.slow
def test_an_interrupted_run_that_diverged_leaves_no_checkpoint(
    phantoms: str, family: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = linked_bundle(family, tmp_path / "own")
    values = {"name": "wild", "learning_rate": 1e30, "warmup": 0, "weight_decay": 0.0, "log_steps": 50}
    monkeypatch.setattr(Journal, "advance", interrupting(3, Journal.advance))
    with pytest.raises(TrainingError):
        run_training(train_spec(phantoms, folder, "adapter", **values))
    assert not (folder / "adapter" / "checkpoint.pt").exists()


@pytest.mark.slow
def test_accumulated_gradients_are_those_of_the_whole_batch(phantoms: str, family: Path, tmp_path: Path) -> None:
    for name, accumulate in (("one", 1), ("four", 4)):
        folder = linked_bundle(family, tmp_path / name)
        run_training(train_spec(phantoms, folder, "adapter", name=name, batch=4, accumulate=accumulate, steps=3))
    one, four = losses_of(tmp_path / "one" / "adapter"), losses_of(tmp_path / "four" / "adapter")
    for a, b in zip(one, four, strict=True):
        assert float(a["loss"]) == pytest.approx(float(b["loss"]), rel=1e-5)
        assert float(a["gradient_norm"]) == pytest.approx(float(b["gradient_norm"]), rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "tolerance"), [("bfloat16", 2e-2), ("float16", 2e-3)])
def test_mixed_precision_follows_full_precision(
    phantoms: str, family: Path, tmp_path: Path, dtype: str, tolerance: float
) -> None:
    """Losses differ, but only by rounding; trained weights stay in float32."""
    for name in ("float32", dtype):
        folder = linked_bundle(family, tmp_path / name)
        run_training(train_spec(phantoms, folder, "adapter", name=name, dtype=name, steps=3))
    full, mixed = (losses_of(tmp_path / name / "adapter") for name in ("float32", dtype))
    for a, b in zip(full, mixed, strict=True):
        assert float(a["loss"]) == pytest.approx(float(b["loss"]), rel=tolerance)
    assert [row["loss"] for row in full] != [row["loss"] for row in mixed]
    assert {value.dtype for value in weights_of(tmp_path / dtype / "adapter").values()} == {torch.float32}


@pytest.mark.slow
def test_a_checkpoint_on_s3_is_resumed(
    phantoms: str, family: Path, tmp_path: Path, s3_root: str, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    straight, folder = linked_bundle(family, tmp_path / "straight"), linked_bundle(family, tmp_path / "s3")
    run_training(train_spec(phantoms, straight, "adapter", name="own", steps=4))
    place = f"{s3_root}/run"
    spec = train_spec(phantoms, folder, "adapter", name="own", steps=4, checkpoints=place, checkpoint_seconds=0.0)
    with monkeypatch.context() as patched:
        patched.setattr(Journal, "line", dying_at(3, Journal.line))
        with pytest.raises(RuntimeError):
            run_training(spec)
    with caplog.at_level(logging.INFO):
        run_training(spec)
    assert f"{place}/checkpoint.pt: resuming at step 2" in caplog.text
    assert losses_of(place) == losses_of(straight / "adapter")


def dying_at(last: int, line: Callable[..., None]) -> Callable[..., None]:
    def dying(journal: Journal, step: int, values: Mapping[str, float]) -> None:
        if step == last:
            raise RuntimeError
        line(journal, step, values)

    return dying


@pytest.mark.slow
@pytest.mark.parametrize("log_steps", [1, 50])
def test_a_diverging_run_keeps_its_weights_to_itself(
    phantoms: str, family: Path, tmp_path: Path, log_steps: int
) -> None:
    """Neither checkpoint nor bundle get NaN, also between two lines of the log."""
    folder = linked_bundle(family, tmp_path / "own")
    values: dict[str, Any] = {"learning_rate": 1e30, "warmup": 0, "checkpoint_seconds": 0.0, "weight_decay": 0.0}
    with pytest.raises(TrainingError) as caught:
        run_training(train_spec(phantoms, folder, "adapter", name="wild", log_steps=log_steps, **values))
    assert "loss" in caught.value.key.split(", ")
    assert "nan" in caught.value.found
    assert not (folder / "bundle" / "adapters" / "wild").exists()
    if log_steps > 4:
        assert not (folder / "adapter" / "checkpoint.pt").exists()


@pytest.mark.slow
def test_a_run_of_another_spec_leaves_the_bundle_alone(phantoms: str, family: Path, tmp_path: Path) -> None:
    folder = linked_bundle(family, tmp_path / "own")
    run_training(train_spec(phantoms, folder, "adapter", name="own", steps=1))
    for values in ({"rank": 2}, {"control_image": "normal"}):
        with pytest.raises(SpecError) as caught:
            run_training(train_spec(phantoms, folder, "adapter", name="own", **values))
        assert caught.value.key == next(iter(values))
    assert not (folder / "bundle" / "adapters" / "normal").exists()


@pytest.mark.slow
def test_export_writes_the_checkpoint_or_nothing(phantoms: str, family: Path, tmp_path: Path) -> None:
    folder = copied_bundle(family, tmp_path)
    adapter = folder / "bundle" / "adapters" / "blended" / "adapter_model.safetensors"
    spec, before = train_spec(phantoms, folder, "adapter"), adapter.read_bytes()
    with pytest.raises(SpecError) as caught:
        run_training(spec, export_only=True)
    assert caught.value.key == "checkpoints"
    assert adapter.read_bytes() == before
    run_training(spec)
    trained = adapter.read_bytes()
    adapter.unlink()
    run_training(spec, export_only=True)
    assert adapter.read_bytes() == trained != before
