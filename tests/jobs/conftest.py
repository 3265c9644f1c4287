"""A Ray cluster of its own to submit jobs to."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator

import psutil
import pytest

from tests.jobs.cluster import BIN, RAY, Cluster, submit


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def cluster(s3_root: str) -> Iterator[Cluster]:
    """A Ray head with the S3 endpoint in its environment."""
    port, gcs = _free_port(), _free_port()
    environment = {**os.environ, **RAY, "PATH": f"{BIN}:{os.environ['PATH']}"}
    head = subprocess.Popen(
        [BIN / "ray", "start", "--head", "--block", f"--port={gcs}", "--num-cpus=2", "--disable-usage-stats",
         f"--dashboard-port={port}", f"--dashboard-agent-listen-port={_free_port()}"],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    started = Cluster(f"http://127.0.0.1:{port}", f"127.0.0.1:{gcs}")
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and submit(started, "list").returncode:
        time.sleep(1)
    yield started
    family = [*psutil.Process(head.pid).children(recursive=True), psutil.Process(head.pid)]
    head.terminate()
    _, alive = psutil.wait_procs(family, timeout=20)
    for member in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
