"""Build a spec in a Ray of its own whose metrics are scraped while it runs and after it; prints what was exported.

Run as ``python -m tests.pipeline.actors.metrics_build SPEC.json [FOLDER]``; Ray ends when standard input does. In a
folder of its own, Ray keeps the list of its nodes for Prometheus there, as the head of a cluster does.
"""

from __future__ import annotations

import socket
import sys
import time
import urllib.request
from pathlib import Path

import ray

from dentgen.pipeline.run import build
from dentgen.spec.build import BuildSpec


def free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        port: int = opened.getsockname()[1]
        return port


def scrape(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        text: str = answer.read().decode()
        return text


def settled(port: int, units: int) -> str:
    """What is exported once every unit and its times are."""
    deadline, text = time.monotonic() + 60, ""
    while time.monotonic() < deadline:
        time.sleep(1)
        text = scrape(port)
        wanted = ("ray_dentgen_units_done_total{", "ray_dentgen_encode_seconds_count{")
        sums = [sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(w)) for w in wanted]
        if sums == [units, units]:
            time.sleep(2)  # whatever is still on its way
            return scrape(port)
    return text


def main() -> None:
    spec = BuildSpec.model_validate_json(Path(sys.argv[1]).read_text())
    port, folder = free_port(), next(iter(sys.argv[2:]), None)
    ray.init(
        address="local", num_cpus=2, include_dashboard=folder is not None, log_to_driver=False, _temp_dir=folder,
        _metrics_export_port=port, _system_config={"metrics_report_interval_ms": 500},
        runtime_env={"env_vars": {"OMP_NUM_THREADS": "1"}},
    )  # fmt: skip
    outcome = build(spec)
    units = outcome.made
    sys.stdout.write(settled(port, units))
    sys.stdout.flush()
    sys.stdin.read()
    ray.shutdown()


if __name__ == "__main__":
    main()
