"""The loop: a run that is cut off goes on to the same bits; parts, workers and storage change nothing."""

from __future__ import annotations

import csv
import io
import logging
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
import torch
from PIL import Image
from pydantic import ValidationError

from dentgen import storage
from dentgen.errors import SpecError, TrainingError
from dentgen.spec.train import read_train_spec
from dentgen.training import ray_workers
from dentgen.training.journal import Journal
from dentgen.training.run import run_training
from tests.conftest import ROOT
from tests.training.conftest import train_spec


def losses_of(folder: Path | str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(storage.read_bytes(f"{folder}/losses.csv").decode())))


def weights_of(folder: Path | str) -> dict[str, torch.Tensor]:
    content = io.BytesIO(storage.read_bytes(f"{folder}/checkpoint.pt"))
    return torch.load(content, weights_only=True)["trained"]


def copied(family: Path, folder: Path) -> Path:
    """The family's bundle as another folder's, which a run may write into."""
    folder.mkdir(exist_ok=True)
    (folder / "bundle").symlink_to(family / "bundle")
    return folder


@pytest.mark.slow
def test_a_run_killed_at_any_time_continues_its_curve(
    phantoms: str, family: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """SIGKILL, twice; the log and the weights are those of a run that nobody killed."""
    whole, cut = copied(family, tmp_path / "whole"), copied(family, tmp_path / "cut")
    values = {
        "steps": 12,
        "checkpoint_seconds": 0.0,
        "accumulate": 2,
        "name": "own",
        "threads": 1,
        "loss": {"tooth": 5.0},
    }
    run_training(train_spec(phantoms, whole, "adapter", **values))
    spec = train_spec(phantoms, cut, "adapter", **values)
    file = tmp_path / "spec.yaml"
    file.write_text(spec.model_dump_json())
    for wanted in (3, 7):
        process = subprocess.Popen([sys.executable, str(ROOT / "jobs" / "train.py"), str(file)], cwd=ROOT)
        _wait_for(cut / "adapter" / "losses.csv", wanted, process)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    with caplog.at_level(logging.INFO):
        run_training(spec)
    assert max(int(step) for step in re.findall(r"resuming at step (\d+)", caplog.text)) >= 7
    assert losses_of(cut / "adapter") == losses_of(whole / "adapter")
    assert [int(row["step"]) for row in losses_of(cut / "adapter")] == list(range(1, 13))
    a, b = weights_of(cut / "adapter"), weights_of(whole / "adapter")
    assert all(torch.equal(a[name], b[name]) for name in b)


def _wait_for(file: Path, lines: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(1200):
        assert process.poll() is None, "the run ended before it could be killed"
        if file.exists() and len(file.read_text().splitlines()) > lines:
            return
        time.sleep(0.05)
    raise AssertionError(f"{file} never had {lines} steps")


@pytest.mark.slow
def test_parts_of_a_step_give_the_gradients_of_the_whole(phantoms: str, family: Path, tmp_path: Path) -> None:
    for name, accumulate in (("one", 1), ("four", 4)):
        folder = copied(family, tmp_path / name)
        run_training(train_spec(phantoms, folder, "adapter", name=name, batch=4, accumulate=accumulate, steps=3))
    one, four = losses_of(tmp_path / "one" / "adapter"), losses_of(tmp_path / "four" / "adapter")
    for a, b in zip(one, four, strict=True):
        assert float(a["loss"]) == pytest.approx(float(b["loss"]), rel=1e-5)
        assert float(a["gradient_norm"]) == pytest.approx(float(b["gradient_norm"]), rel=1e-3)


@pytest.mark.parametrize(("precision", "near"), [("bf16", 2e-2), ("fp16", 2e-3)])
def test_mixed_precision_follows_full_precision(
    phantoms: str, family: Path, tmp_path: Path, precision: str, near: float
) -> None:
    """Losses differ by the format's rounding, and do differ; what is trained stays in fp32."""
    for name in ("fp32", precision):
        folder = copied(family, tmp_path / name)
        run_training(train_spec(phantoms, folder, "adapter", name=name, precision=name, steps=3))
    full, mixed = (losses_of(tmp_path / name / "adapter") for name in ("fp32", precision))
    for a, b in zip(full, mixed, strict=True):
        assert float(a["loss"]) == pytest.approx(float(b["loss"]), rel=near)
    assert [row["loss"] for row in full] != [row["loss"] for row in mixed]
    assert {value.dtype for value in weights_of(tmp_path / precision / "adapter").values()} == {torch.float32}


@pytest.mark.ray
@pytest.mark.slow
def test_two_ray_workers_give_one_workers_gradients(
    phantoms: str, family: Path, tmp_path: Path, ray_local: None
) -> None:
    """Also with data streamed from the shards, and with tasks whose LoRAs take turns."""
    weighted = {"name": "own", "loss": {"tooth": 5.0, "normalise": "batch"}}
    runs: dict[str, dict[str, Any]] = {"adapter": weighted, "control-base": {}}
    for recipe, values in runs.items():
        for name, workers in (("one", 0), ("two", 2)):
            folder = copied(family, tmp_path / f"{name}-{recipe}")
            if recipe == "control-base":
                folder = _own_bundle(family, tmp_path / f"{name}-own")
            spec = train_spec(phantoms, folder, recipe, batch=4, workers=workers, steps=3, stream=workers > 0, **values)
            run_training(spec)
        kinds = ("one-own", "two-own") if recipe == "control-base" else (f"one-{recipe}", f"two-{recipe}")
        one, two = (tmp_path / kind / recipe for kind in kinds)
        for a, b in zip(losses_of(one), losses_of(two), strict=True):
            assert float(a["loss"]) == pytest.approx(float(b["loss"]), rel=1e-4)
        first, second = weights_of(one), weights_of(two)
        for key, value in first.items():
            torch.testing.assert_close(second[key], value, rtol=1e-3, atol=2e-5)


@pytest.mark.ray
@pytest.mark.slow
def test_a_ray_worker_that_dies_is_started_again(phantoms: str, family: Path, tmp_path: Path) -> None:
    """SIGKILL to one of two: both go on from the checkpoint, and the curve is that of one undisturbed process."""
    whole, cut = copied(family, tmp_path / "whole"), copied(family, tmp_path / "cut")
    values = {"steps": 30, "batch": 4, "name": "own"}
    run_training(train_spec(phantoms, whole, "adapter", **values))
    file = tmp_path / "spec.yaml"
    spec = train_spec(phantoms, cut, "adapter", workers=2, checkpoint_seconds=0.0, threads=1, **values)
    file.write_text(spec.model_dump_json())
    process = subprocess.Popen([sys.executable, str(ROOT / "jobs" / "train.py"), str(file)], cwd=ROOT)
    _wait_for(cut / "adapter" / "losses.csv", 2, process)
    family_of = psutil.Process(process.pid).children(recursive=True)
    workers = [child for child in family_of if "RayTrainWorker" in " ".join(child.cmdline())]
    assert len(workers) == 2
    workers[1].send_signal(signal.SIGKILL)
    assert process.wait(timeout=400) == 0
    one, two = losses_of(whole / "adapter"), losses_of(cut / "adapter")
    assert [int(row["step"]) for row in two] == list(range(1, 31))
    for a, b in zip(one, two, strict=True):
        assert float(a["loss"]) == pytest.approx(float(b["loss"]), rel=1e-3)


def _own_bundle(family: Path, folder: Path) -> Path:
    shutil.copytree(family / "bundle", folder / "bundle")
    return folder


@pytest.mark.slow
def test_a_checkpoint_on_s3_is_taken_up(
    phantoms: str, family: Path, tmp_path: Path, s3_root: str, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    straight, folder = copied(family, tmp_path / "straight"), copied(family, tmp_path / "s3")
    run_training(train_spec(phantoms, straight, "adapter", name="own", steps=4))
    place = f"{s3_root}/run"
    spec = train_spec(phantoms, folder, "adapter", name="own", steps=4, checkpoints=place, checkpoint_seconds=0.0)
    with monkeypatch.context() as patched:
        patched.setattr(Journal, "line", _ends_at(3, Journal.line))
        with pytest.raises(KeyboardInterrupt):
            run_training(spec)
    with caplog.at_level(logging.INFO):
        run_training(spec)
    assert f"{place}/checkpoint.pt: resuming at step 2" in caplog.text
    assert losses_of(place) == losses_of(straight / "adapter")


def _ends_at(last: int, line: Callable[..., None]) -> Callable[..., None]:
    def ending(journal: Journal, step: int, values: Mapping[str, float]) -> None:
        if step == last:
            raise KeyboardInterrupt
        line(journal, step, values)

    return ending


def test_validation_keeps_sheets_and_losses(phantoms: str, family: Path, tmp_path: Path) -> None:
    """And changes nothing in the run."""
    plain, seen = copied(family, tmp_path / "plain"), copied(family, tmp_path / "seen")
    run_training(train_spec(phantoms, plain, "adapter", name="own", steps=2))
    events = tmp_path / "events"
    watched = {"validate_steps": 1, "validate_records": 3, "tensorboard": str(events)}
    run_training(train_spec(phantoms, seen, "adapter", name="own", steps=2, **watched))
    with Image.open(seen / "adapter" / "previews" / "0000001.png") as sheet:
        assert sheet.size == (3 * 64, 3 * 64), "all that were asked for, more than a batch"
    assert [path.name for path in sorted((seen / "adapter" / "previews").iterdir())] == ["0000001.png", "0000002.png"]
    rows = losses_of(seen / "adapter")
    assert sum(bool(row["validation_loss"]) for row in rows) == 2
    assert list(events.glob("events.out.tfevents.*"))
    a, b = weights_of(plain / "adapter"), weights_of(seen / "adapter")
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_run_that_cannot_end_well_does_not_begin(phantoms: str, family: Path, tmp_path: Path) -> None:
    folder = copied(family, tmp_path / "own")
    with pytest.raises(SpecError, match="size: found 128, expected 64"):
        run_training(train_spec(phantoms, folder, "adapter", size=128))
    with pytest.raises(TrainingError, match="the first batch: found losses loss nan"):
        run_training(train_spec(phantoms, folder, "adapter", name="own", loss={"tooth": float("inf")}))
    run_training(train_spec(phantoms, folder, "adapter", name="own", steps=1))
    with pytest.raises(SpecError, match="a checkpoint of another run"):
        run_training(train_spec(phantoms, folder, "adapter", name="own", rank=2))
    for values, said in (
        ({"condition": "normal"}, "condition 'blended', now 'normal'"),
        ({"seed": 1}, "seed 0, now 1"),
    ):
        with pytest.raises(SpecError, match=f"a checkpoint of another run.*{said}"):
            run_training(train_spec(phantoms, folder, "adapter", name="own", **values))
    assert not (folder / "bundle" / "adapters" / "normal").exists()
    unet = folder / "bundle" / "unet" / "config.json"
    unet.write_text(unet.read_text() + "\n")
    with pytest.raises(SpecError, match=r"a checkpoint of another run.*bundle has changed since, in unet\)"):
        run_training(train_spec(phantoms, folder, "adapter", name="own", steps=1))
    checkpoint = folder / "adapter" / "checkpoint.pt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(SpecError, match=r"checkpoint\.pt damaged"):
        run_training(train_spec(phantoms, folder, "adapter", name="own"))


def test_a_run_that_leaves_all_bounds_keeps_what_it_had(phantoms: str, family: Path, tmp_path: Path) -> None:
    """Neither checkpoint nor bundle get weights that are no numbers."""
    folder = copied(family, tmp_path / "own")
    values = {"name": "wild", "learning_rate": 1e30, "warmup": 0, "checkpoint_seconds": 0.0, "weight_decay": 0.0}
    with pytest.raises(TrainingError, match=r"found loss nan.*expected finite ones"):
        run_training(train_spec(phantoms, folder, "adapter", **values))
    assert not (folder / "bundle" / "adapters" / "wild").exists()
    with pytest.raises(TrainingError, match="expected finite ones"):
        run_training(train_spec(phantoms, copied(family, tmp_path / "two"), "adapter", log_steps=50, **values))
    assert not (tmp_path / "two" / "adapter" / "checkpoint.pt").exists(), "also between the lines of the log"


def test_exporting_takes_the_newest_checkpoint_or_nothing(phantoms: str, family: Path, tmp_path: Path) -> None:
    folder = _own_bundle(family, tmp_path / "own")
    spec = train_spec(phantoms, folder, "adapter")
    before = weights_in(folder / "bundle" / "adapters" / "blended")
    with pytest.raises(SpecError, match=r"found no checkpoint in .*, expected one to export"):
        run_training(spec, export_only=True)
    assert weights_in(folder / "bundle" / "adapters" / "blended") == before
    run_training(spec)
    trained = weights_in(folder / "bundle" / "adapters" / "blended")
    shutil.rmtree(folder / "bundle" / "adapters" / "blended")
    run_training(spec, export_only=True)
    assert weights_in(folder / "bundle" / "adapters" / "blended") == trained != before


def weights_in(folder: Path) -> bytes:
    return (folder / "adapter_model.safetensors").read_bytes()


def test_checkpoints_hold_what_is_trained(phantoms: str, family: Path, tmp_path: Path) -> None:
    """The base stands in the bundle; with Stable Diffusion it is a gigabyte."""
    folder = copied(family, tmp_path / "own")
    run_training(train_spec(phantoms, folder, "adapter", name="own", steps=1))
    names = weights_of(folder / "adapter")
    assert any("lora_A" in name for name in names)
    assert not any("base_layer" in name for name in names)


@pytest.mark.parametrize(
    ("recipe", "values", "said"),
    [
        (
            "adapter",
            {"start": "miniature"},
            r"start: found 'miniature', expected nothing: recipe adapter does not read it",
        ),
        ("base", {"align": "miniature"}, "align: found 'miniature'"),
        ("lcm-lora", {"control": "blended", "loss": {"tooth": 5}}, "loss: found LossSpec"),
        ("lcm-lora", {"control": "blended", "ladder": 300}, "ladder: found 300, expected a divisor of 1000"),
        ("lcm-lora", {"control": "blended", "guidance": [15, 5]}, "expected the lower end first"),
        ("lcm-lora", {"control": "normal"}, "condition: found 'blended', expected what adapter 'normal' is shown"),
        ("decoder", {"decoder": "kl", "start": "miniature"}, "a KL decoder goes on from its own bundle's"),
        ("control-base", {"conditions": ["normal", "normal"]}, "expected each once"),
        ("adapter", {"bundle": "s3://there/sd15"}, "bundle: found s3://there/sd15, expected a folder"),
        ("adapter", {"accumulate": 2, "loss": {"normalise": "batch"}}, "found 'batch' with accumulate above 1"),
    ],
)
def test_settings_that_would_do_nothing_or_harm_are_refused(recipe: str, values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        train_spec("nowhere", Path("nowhere"), recipe, **values)


@pytest.mark.ray
def test_workers_are_not_sent_to_cpus_in_silence() -> None:
    """In a cluster with one GPU (as far as Ray knows), seen by another process: this one may have a Ray of its own."""
    changes: list[dict[str, Any]] = [{"workers": 1}, {}, {"device": "cpu"}, {"device": "cuda"}]
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as other:
        found = other.submit(_placed_beside_one_gpu, changes).result()
    one, two, on_cpus, by_name = found
    assert one is True
    assert "workers: found 2 for the cluster's 1 GPUs, expected at most as many" in str(two)
    assert on_cpus is False
    assert by_name is True, "it waits for what is brought up"


def _placed_beside_one_gpu(changes: list[dict[str, Any]]) -> list[bool | str]:
    spec = train_spec("nowhere", Path("nowhere"), "adapter", workers=2)
    ray.init(address="local", num_cpus=1, num_gpus=1, include_dashboard=False)
    placed: list[bool | str] = []
    for change in changes:
        try:
            placed.append(ray_workers._on_gpu(spec.model_copy(update=change)))
        except SpecError as error:
            placed.append(str(error))
    ray.shutdown()
    return placed


def test_the_specs_that_ship_are_valid() -> None:
    for path in sorted((ROOT / "jobs" / "specs").glob("train-*.yaml")):
        assert read_train_spec(path).steps > 0
    with pytest.raises(SpecError, match="steps"):
        read_train_spec(ROOT / "jobs" / "specs" / "train-base.yaml", ("steps=0",))
    sharpened = read_train_spec(ROOT / "jobs" / "specs" / "train-decoder.yaml", ("decoder=kl", "generated=0"))
    assert sharpened.decoder == "kl", "as its first lines say"
    inner = read_train_spec(ROOT / "jobs" / "specs" / "train-base.yaml", ("loss.tooth=3", "workers=4"))
    assert (inner.loss.tooth, inner.workers) == (3.0, 4)
    with pytest.raises(SpecError, match="multiple of workers x accumulate = 3"):
        read_train_spec(ROOT / "jobs" / "specs" / "train-base.yaml", ("workers=3",))
