"""The jobs as users start them: submitted to a running cluster, from S3 to S3."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from dentgen import storage
from dentgen.models.bundle import find_bundle, load_bundle
from dentgen.phantom.shards import PhantomSet, write_phantoms
from dentgen.pipeline.run import build
from dentgen.shards.index import read_index
from dentgen.spec.yaml_file import read_spec
from tests.conftest import DEMO, ROOT, problems, shard_bytes

BIN = Path(sys.executable).parent
#: Head and clients must agree on whether there are tokens; this cluster listens on loopback alone.
RAY = {"RAY_AUTH_MODE": "disabled"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True)
class Cluster:
    """URL of the job server, address for drivers."""

    jobs: str
    address: str


@pytest.fixture(scope="module")
def cluster(s3_root: str) -> Iterator[Cluster]:
    """A Ray head of its own with the S3 endpoint in its environment."""
    port, gcs = free_port(), free_port()
    environment = {**os.environ, **RAY, "PATH": f"{BIN}:{os.environ['PATH']}"}
    head = subprocess.Popen(
        [BIN / "ray", "start", "--head", "--block", f"--port={gcs}", "--num-cpus=2", "--disable-usage-stats",
         f"--dashboard-port={port}", f"--dashboard-agent-listen-port={free_port()}"],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    found = Cluster(f"http://127.0.0.1:{port}", f"127.0.0.1:{gcs}")
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and submit(found, "list").returncode:
        time.sleep(1)
    yield found
    family = [*psutil.Process(head.pid).children(recursive=True), psutil.Process(head.pid)]
    head.terminate()
    _, alive = psutil.wait_procs(family, timeout=20)
    for member in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()


def submit(cluster: Cluster, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(BIN / "ray"), "job", arguments[0], "--address", cluster.jobs, *arguments[1:]]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, **RAY}, check=False, timeout=400
    )


@pytest.mark.ray
@pytest.mark.slow
def test_a_submitted_job_from_s3_to_s3_gives_the_bytes_of_a_local_build(
    cluster: Cluster, s3_root: str, tmp_path: Path
) -> None:
    source, out = storage.join(s3_root, "job-conditions"), storage.join(s3_root, "job-out")
    for path in sorted(DEMO.glob("*.tar")):
        storage.put_if_absent(storage.join(source, path.name), path.read_bytes())
    run = submit(
        cluster, "submit", "--working-dir", ".", "--", "python", "jobs/generate.py", "jobs/specs/demo.yaml",
        "--set", f"source.path={source}", "--set", f"output.path={out}",
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-4000:]
    assert "80 samples written, 0 rejected, of 80 planned" in run.stdout
    assert "\ngenerating:" in run.stdout, "progress is whole lines in a log"
    assert "\r" not in run.stdout
    assert problems(out) == []
    build(read_spec(ROOT / "jobs/specs/demo.yaml", [f"output.path={tmp_path / 'here'}"]), use_ray=False)
    names = storage.list_names(storage.join(out, "shards"))
    there = {name: hashlib.sha256(storage.read_bytes(storage.join(out, "shards", name))).hexdigest() for name in names}
    here = {name: hashlib.sha256(data).hexdigest() for name, data in shard_bytes(tmp_path / "here").items()}
    assert there == here

    run = submit(cluster, "submit", "--working-dir", ".", "--", "python", "jobs/generate.py", "jobs/specs/demo.yaml")
    assert run.returncode != 0
    assert "temporary copy of the working directory" in run.stdout, "a relative output would be lost with the job"


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
        cluster, "submit", "--working-dir", ".", "--", "python", "jobs/train.py", "jobs/specs/train-adapter.yaml",
        "--set", "workers=2", "--set", "stream=true", "--set", "dtype=bfloat16", "--set", "cache_latents=false",
        "--set", f"source.path={data}", "--set", f"checkpoints={kept}", "--set", f"bundle={bundle}",
        "--set", "name=own", "--set", "batch=4", "--set", "steps=3", "--set", "log_steps=1",
        "--set", "source.split=null", "--set", "validate_split=null", "--set", "validate_records=1",
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-4000:]
    lines = storage.read_bytes(storage.join(kept, "losses.csv")).decode().splitlines()
    assert [line.split(",")[0] for line in lines] == ["step", "1", "2", "3"]
    assert load_bundle(str(bundle), {"own"}).control is not None

    run = submit(cluster, "submit", "--working-dir", ".", "--", "python", "jobs/train.py",
                 "jobs/specs/train-adapter.yaml", "--set", "workers=2")  # fmt: skip
    assert run.returncode != 0
    assert "temporary copy of the working directory" in run.stdout


@pytest.mark.ray
@pytest.mark.slow
def test_a_running_cluster_can_be_joined(cluster: Cluster, tmp_path: Path) -> None:
    out = tmp_path / "joined"
    run = subprocess.run(
        [sys.executable, "-m", "dentgen", "generate", "jobs/specs/demo.yaml", "--address", cluster.address,
         "--set", f"output.path={out}", "--limit", "4"],
        cwd=ROOT, env={**os.environ, **RAY}, capture_output=True, text=True, check=False, timeout=200,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]
    assert problems(out) == []
    spec = read_spec(ROOT / "jobs/specs/demo.yaml", [f"output.path={tmp_path / 'here'}", "source.limit=4"])
    build(spec, use_ray=False)
    assert shard_bytes(out) == shard_bytes(tmp_path / "here")


@pytest.mark.ray
@pytest.mark.slow
def test_the_benchmark_compares_the_three_ways(tmp_path: Path) -> None:
    """One short round: figures of such a round mean little, but every contestant made what it should."""
    run = subprocess.run(
        [sys.executable, "jobs/benchmark.py", "build", "--rounds", "1", "--work", str(tmp_path / "work"),
         "--json", str(tmp_path / "figures.json"), "--set", "sampling.variants=2", "--set", "sampling.steps=2"],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False, timeout=400,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert set(figures["ratios"]) == {"build_over_engine", "build_over_usual", "predicted"}
    assert 0.2 < figures["ratios"]["build_over_engine"] < 2
    assert 1 < figures["ratios"]["predicted"]["build_over_usual"] < 2, "two variants share their control"
    assert problems(tmp_path / "work" / "build-0") == []
    with contextlib.ExitStack() as stack:
        shards = [stack.enter_context(tarfile.open(path)) for path in (tmp_path / "work" / "usual-0").glob("*.tar")]
        names = [name for shard in shards for name in shard.getnames() if name.endswith(".json")]
    assert len(names) == 4 * 20 * 2


@pytest.mark.ray
@pytest.mark.slow
def test_the_benchmark_of_the_pipeline_builds_what_it_measures(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "jobs/benchmark.py", "pipeline", "--rounds", "1", "--units", "20,60",
         "--work", str(tmp_path / "work"), "--json", str(tmp_path / "figures.json")],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False, timeout=400,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert set(figures["ratios"]) == {"60_over_20"}
    assert set(figures["seconds_per_unit"]["60"]) == {"plan", "make", "seal"}
    for count in (20, 60):
        out = tmp_path / "work" / f"{count}-0" / "out"
        assert read_index(str(out)).written == count
        assert len(list((out / "shards").glob("*.tar"))) == count
