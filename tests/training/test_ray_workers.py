"""Several Ray workers: gradients of one, restarts, GPUs, absolute paths."""

from __future__ import annotations

import multiprocessing
import signal
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
import torch

from dentgen.errors import SpecError
from dentgen.training import ray_workers
from dentgen.training.run import run_training
from tests.conftest import ROOT
from tests.training.runs import copied_bundle, linked_bundle, losses_of, train_spec, wait_for_lines, weights_of


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "values"),
    [
        ("adapter", {"name": "own", "loss": {"tooth": 5.0, "normalise": "batch"}}),
        ("control-base", {}),
        ("reward", {"name": "own", "reward_timesteps": [0, 500], "weight": 1.0, "lighting_weight": 0.1}),
        ("phased-lora", {}),
        ("dmd-lora", {"critic_steps": 1}),
        ("noise-consistency", {"levels": 2, "learning_rate": 1e-4}),  # Adam turns tiny gradients into whole steps
        ("pruned-unet", {}),
        ("two-frame", {}),
        ("dreambooth", {"train_text_encoder": True, "class_pictures": 20}),
        ("textual-inversion", {}),
    ],
)
def test_two_ray_workers_give_one_workers_gradients(
    phantoms: str, family: Path, tmp_path: Path, ray_local: None, recipe: str, values: dict[str, Any]
) -> None:
    """Also with data streamed from the shards, and with LoRAs that take turns."""
    one, two = (copied_bundle(family, tmp_path / name) for name in ("one", "two"))
    if recipe == "pruned-unet":
        values = {"teacher": str(family / "bundle")}
    for folder, workers in ((one, None), (two, 2)):
        streams = workers is not None
        run_training(train_spec(phantoms, folder, recipe, batch=4, workers=workers, steps=3, stream=streams, **values))
    for a, b in zip(losses_of(one / recipe), losses_of(two / recipe), strict=True):
        assert float(a["loss"]) == pytest.approx(float(b["loss"]), rel=1e-4)
        figures = [name for name in ("rewarded", "reward", "lighting", "miou", "miou_watch") if name in a]
        assert {name: float(b[name]) for name in figures} == {
            name: pytest.approx(float(a[name]), rel=1e-3) for name in figures
        }
    first, second = weights_of(one / recipe), weights_of(two / recipe)
    for key, value in first.items():
        torch.testing.assert_close(second[key], value, rtol=1e-3, atol=2e-5)


@pytest.mark.ray
@pytest.mark.slow
def test_workers_restart_when_one_dies(phantoms: str, family: Path, tmp_path: Path) -> None:
    """SIGKILL to one of two: both resume from the checkpoint, and the curve is that of one undisturbed process."""
    whole, cut = linked_bundle(family, tmp_path / "whole"), linked_bundle(family, tmp_path / "cut")
    values = {"steps": 30, "batch": 4, "name": "own"}
    run_training(train_spec(phantoms, whole, "adapter", **values))
    file = tmp_path / "spec.yaml"
    spec = train_spec(phantoms, cut, "adapter", workers=2, checkpoint_seconds=0.0, threads=1, **values)
    file.write_text(spec.model_dump_json())
    process = subprocess.Popen([sys.executable, str(ROOT / "jobs" / "train.py"), str(file)], cwd=ROOT)
    wait_for_lines(cut / "adapter" / "losses.csv", 2, process)
    family_of = psutil.Process(process.pid).children(recursive=True)
    workers = [child for child in family_of if "RayTrainWorker" in " ".join(child.cmdline())]
    assert len(workers) == 2
    workers[1].send_signal(signal.SIGKILL)
    assert process.wait(timeout=400) == 0
    one, two = losses_of(whole / "adapter"), losses_of(cut / "adapter")
    assert [int(row["step"]) for row in two] == list(range(1, 31))
    for a, b in zip(one, two, strict=True):
        assert float(a["loss"]) == pytest.approx(float(b["loss"]), rel=1e-3)


@pytest.mark.slow
@pytest.mark.ray
def test_workers_are_not_sent_to_cpus_silently() -> None:
    """In a cluster that claims one GPU, started by another process because this one may be connected to a Ray."""
    changes: list[dict[str, Any]] = [{"workers": 1}, {}, {"device": "cpu"}, {"device": "cuda"}]
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as other:
        found = other.submit(_placed_with_one_gpu, changes).result()
    assert found == [True, ("workers", 2), False, True]


def _placed_with_one_gpu(changes: list[dict[str, Any]]) -> list[Any]:
    spec = train_spec("nowhere", Path("nowhere"), "adapter", workers=2)
    ray.init(address="local", num_cpus=1, num_gpus=1, include_dashboard=False)
    placed: list[Any] = []
    for change in changes:
        try:
            placed.append(ray_workers._on_gpu(spec.model_copy(update=change)))
        except SpecError as error:
            placed.append((error.key, error.found))
    ray.shutdown()
    return placed


def test_paths_are_absolute_and_names_and_urls_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "known").mkdir()
    spec = train_spec("data", Path("runs"), "autoencoder", start="miniature", align="known", checkpoints="s3://b/run")
    found: Any = ray_workers._absolute(spec)
    assert (found.source.path, found.bundle) == (str(tmp_path / "data"), str(tmp_path / "runs" / "bundle"))
    assert (found.start, found.align) == ("miniature", str(tmp_path / "known"))
    assert (found.checkpoints, found.tensorboard) == ("s3://b/run", None)
    taught: Any = ray_workers._absolute(train_spec("data", Path("runs"), "pruned-unet", teacher="known"))
    assert taught.teacher == str(tmp_path / "known")


@pytest.mark.parametrize("key", ["source.path", "bundle", "checkpoints", "tensorboard"])
def test_a_submitted_job_keeps_nothing_in_its_working_directory(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    values: dict[str, Any] = {"bundle": "/lasting/bundle", "checkpoints": "/lasting/run"}
    source = "relative" if key == "source.path" else "/lasting/data"
    if key != "source.path":
        values[key] = "relative"
    with pytest.raises(SpecError) as caught:
        ray_workers._absolute(train_spec(source, Path("/lasting"), "adapter", **values))
    assert (caught.value.key, caught.value.found) == (key, "relative")
