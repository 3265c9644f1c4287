"""What ``dentgen cluster render`` makes, run on a Ray cluster of that form, with tokens but without Kubernetes."""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from dentgen import storage
from dentgen.cluster.manifests import ClusterRun, manifests
from dentgen.pipeline.run import build
from dentgen.shards.index_reader import read_index
from dentgen.spec.yaml_file import read_spec
from tests.conftest import DEMO, ROOT, problems, shard_bytes
from tests.jobs.cluster import BIN
from tests.jobs.conftest import _free_port

pytestmark = [pytest.mark.ray, pytest.mark.slow]

TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


@pytest.fixture
def jobs_url(s3_root: str) -> Iterator[str]:
    """A head that offers no CPU and a worker that offers two, as pods of an overlay; both ask for the token."""
    port, gcs = _free_port(), _free_port()
    environment = {**os.environ, **TOKEN, "PATH": f"{BIN}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    memory = f"--object-store-memory={200 * 2**20}"
    head = ["--head", f"--port={gcs}", "--num-cpus=0", "--disable-usage-stats", "--dashboard-host=127.0.0.1",
            f"--dashboard-port={port}"]  # fmt: skip
    worker = [f"--address=127.0.0.1:{gcs}", "--num-cpus=2"]
    started: list[subprocess.Popen[bytes]] = []
    try:
        for options in (head, worker):
            agent = f"--dashboard-agent-listen-port={_free_port()}"
            command = [str(BIN / "ray"), "start", "--block", memory, agent, *options]
            output = subprocess.DEVNULL
            started.append(subprocess.Popen(command, env=environment, stdout=output, stderr=output))
            _wait_for_server(f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"
    finally:
        for process in reversed(started):
            _end(process)


def _wait_for_server(url: str) -> None:
    deadline = time.monotonic() + 200
    while _ray(TOKEN, "list", "--address", url).returncode:
        assert time.monotonic() < deadline, "no job server"
        time.sleep(1)


def _ray(variables: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **variables}
    command = [str(BIN / "ray"), "job", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=800)


def _end(process: subprocess.Popen[bytes]) -> None:
    family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    process.terminate()
    _, alive = psutil.wait_procs(family, timeout=20)
    for member in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()


def test_the_entrypoint_builds_on_a_cluster_with_tokens(jobs_url: str, s3_root: str, tmp_path: Path) -> None:
    source, out = storage.join(s3_root, "rendered-conditions"), storage.join(s3_root, "rendered-out")
    for path in sorted(DEMO.glob("*.tar")):
        storage.put_if_absent(storage.join(source, path.name), path.read_bytes())
    overrides = ["source.limit=6", "sampling.variants=2"]
    places = [f"source.path={source}", f"output.path={out}"]
    demo = ROOT / "jobs" / "specs" / "demo.yaml"
    config, job = manifests(read_spec(demo, [*overrides, *places]), demo, ClusterRun("rayjob", "dentgen:7"))
    mounted = tmp_path / "build.yaml"
    mounted.write_text(config["data"]["build.yaml"])
    entrypoint = shlex.split(job["spec"]["entrypoint"].replace("/etc/dentgen/build.yaml", str(mounted)))

    without = _ray({"RAY_AUTH_MODE": "disabled"}, "submit", "--address", jobs_url, "--", *entrypoint)
    assert without.returncode != 0
    assert storage.list_names(out) == [], "nobody builds without the token"
    wrong = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    assert _ray(wrong, "submit", "--address", jobs_url, "--", *entrypoint).returncode != 0

    run = _ray(TOKEN, "submit", "--address", jobs_url, "--", *entrypoint)
    assert run.returncode == 0, (run.stdout[-4000:], run.stderr[-2000:])
    index = read_index(out)
    assert (index.planned, index.written, index.rejected) == (12, 12, 0)
    assert problems(out) == []
    build(read_spec(demo, [*overrides, f"output.path={tmp_path / 'here'}"]), use_ray=False)
    names = storage.list_names(storage.join(out, "shards"))
    assert {name: storage.read_bytes(storage.join(out, "shards", name)) for name in names} == shard_bytes(
        tmp_path / "here"
    )

    again = _ray(TOKEN, "submit", "--address", jobs_url, "--", *entrypoint)
    assert again.returncode == 0, "another attempt finds a finished build"
    assert TOKEN["RAY_AUTH_TOKEN"] not in run.stdout + again.stdout
