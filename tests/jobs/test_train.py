"""``jobs/train.py`` submitted to a running cluster."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dentgen import storage
from dentgen.models.bundle import find_bundle, load_bundle
from dentgen.phantom.shards import PhantomSet, write_phantoms
from tests.jobs.cluster import Cluster, require_same_as_command, submit

JOB = ("submit", "--working-dir", ".", "--", "python", "jobs/train.py", "jobs/specs/train-adapter.yaml")


def test_it_is_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    require_same_as_command("train", monkeypatch, capsys)


@pytest.mark.ray
@pytest.mark.slow
def test_a_submitted_training_streams_from_s3_and_keeps_its_checkpoint_there(
    cluster: Cluster, s3_root: str, tmp_path: Path
) -> None:
    """The README's command, on two workers and for three steps."""
    data, kept = storage.join(s3_root, "training-conditions"), storage.join(s3_root, "training-run")
    write_phantoms(data, PhantomSet(8, 4, 128, 5), workers=1)
    bundle = tmp_path / "bundle"
    shutil.copytree(find_bundle("miniature"), bundle)
    run = submit(
        cluster, *JOB,
        "--set", "workers=2", "--set", "stream=true", "--set", "dtype=bfloat16", "--set", "cache_latents=false",
        "--set", f"source.path={data}", "--set", f"checkpoints={kept}", "--set", f"bundle={bundle}",
        "--set", "name=own", "--set", "batch=4", "--set", "steps=3", "--set", "log_steps=1",
        "--set", "source.split=null", "--set", "validate_split=null", "--set", "validate_records=1",
        "--set", "conditions.size=128",
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-4000:]
    lines = storage.read_bytes(storage.join(kept, "losses.csv")).decode().splitlines()
    assert [line.split(",")[0] for line in lines] == ["step", "1", "2", "3"]
    assert load_bundle(str(bundle), {"own"}).control is not None


@pytest.mark.ray
@pytest.mark.slow
def test_a_training_does_not_write_into_its_temporary_folder(cluster: Cluster) -> None:
    run = submit(cluster, *JOB, "--set", "workers=2")
    assert run.returncode != 0
    assert "checkpoints" in run.stdout
