"""A real Prometheus, set up as in cluster/monitoring, watches a running build and answers dashboard and alerts."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from dentgen.shards.index_reader import read_index
from tests.cluster.kustomize import load
from tests.cluster.test_monitoring import FOLDER, METRICS, dashboard, rules
from tests.conftest import ROOT, small_spec, write_tar
from tests.pipeline.actors.metrics_build import free_port

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="no program prometheus: apt-get install prometheus"),
]

#: Only what went wrong counts up here.
RETRIES = "ray_dentgen_unit_retries_total"
RATE = "sum(rate(ray_dentgen_samples_written_total[5m]))"
SECONDS = 600


@dataclass
class Prometheus:
    """A server on this machine."""

    port: int

    def ask(self, path: str, **parameters: str) -> Any:
        """The data of an answer; an answer that is an error fails."""
        address = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(address, timeout=30) as answer:
            said = json.load(answer)
        assert said["status"] == "success", said
        assert "warnings" not in said, said
        return said["data"]

    def values(self, query: str) -> list[float]:
        """The values of a query now, without those that are no number."""
        found = [float(series["value"][1]) for series in self.ask("query", query=query)["result"]]
        return [value for value in found if math.isfinite(value)]

    def states(self) -> dict[str, tuple[str, str]]:
        """Health and state of every alert that was evaluated."""
        groups = self.ask("rules", type="alert")["groups"]
        return {rule["name"]: (rule["health"], rule["state"]) for group in groups for rule in group["rules"]}


@dataclass
class Seen:
    """What a Prometheus answered while a build ran, and when all was built."""

    questions: list[str]
    answers: dict[str, list[float]] = field(default_factory=dict)
    rates: list[dict[str, Any]] = field(default_factory=list)
    states: dict[str, tuple[str, str]] = field(default_factory=dict)
    written: float = 0.0
    unwritten: set[str] = field(default_factory=set)
    targets: list[dict[str, Any]] = field(default_factory=list)

    def look(self, server: Prometheus, *, running: bool) -> None:
        """Ask what has had no answer yet, and for the rate while the build runs."""
        for question in self.questions:
            if question not in self.answers and (values := server.values(question)):
                self.answers[question] = values
        if running:
            self.rates.append(server.ask("query", query=RATE))


def questions() -> list[str]:
    """Every expression of the dashboard, for all clusters."""
    found = [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]
    return [question.replace("$cluster", "dentgen") for question in found]


def config(folder: Path, ray: Path) -> Path:
    """The configuration of a head that 'ray up' started, with Ray's folder and shorter intervals."""
    (values,) = load(FOLDER / "prometheus.yaml")
    (job,) = [job for job in values["scrape_configs"] if "file_sd_configs" in job]
    (discovery,) = job["file_sd_configs"]
    discovery["files"] = [file.replace("/tmp/ray", str(ray), 1) for file in discovery["files"]]
    discovery["refresh_interval"] = "1s"
    values["global"] = dict.fromkeys(values["global"], "1s")
    values |= {"rule_files": [str(FOLDER / "alerts.yaml")], "scrape_configs": [job]}
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(values))
    return file


@contextmanager
def prometheus(folder: Path, config: Path) -> Iterator[Prometheus]:
    """A server that ends with the block."""
    port = free_port()
    words = [f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}",
             f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]  # fmt: skip
    with subprocess.Popen(["prometheus", *words], cwd=folder) as process:
        try:
            server, deadline = Prometheus(port), time.monotonic() + SECONDS
            while time.monotonic() < deadline and process.poll() is None:
                with suppress(OSError):  # it is still starting
                    server.ask("query", query="1")
                    break
                time.sleep(0.2)
            yield server
        finally:
            process.terminate()


@contextmanager
def build(spec: Path, ray: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A build in a Ray of its own; Ray stays until the block ends."""
    command = [sys.executable, "-m", "tests.pipeline.actors.metrics_build", str(spec), str(ray)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(120)


def spec_of_a_minute(folder: Path, demo_members: dict[str, dict[str, bytes]]) -> Path:
    """A spec, as a file, of units of one record each, two of which are rejected."""
    records = {key: dict(members) for key, members in demo_members.items()}
    for key in sorted(records)[2:4]:
        records[key]["seg.png"] = b"torn"
    write_tar(folder / "conditions" / "a.tar", records)
    file = folder / "spec.json"
    spec = small_spec(
        folder / "conditions", folder / "out", sampling={"variants": 4, "steps": 4},
        pipeline={"samples_per_shard": 4, "lease_seconds": 3.0}, quality={"max_rejected": 0.5},
    )  # fmt: skip
    file.write_text(spec.model_dump_json())
    return file


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory, demo_members: dict[str, dict[str, bytes]]) -> Seen:
    folder, found = tmp_path_factory.mktemp("prometheus"), Seen(questions())
    index = folder / "out" / "index.json"
    written = 'sum(ray_dentgen_samples_written_total{ray_cluster="dentgen"})'
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as ray:
        spec, file = spec_of_a_minute(folder, demo_members), config(folder, Path(ray))
        with prometheus(folder, file) as server, build(spec, Path(ray)) as process:
            deadline = time.monotonic() + SECONDS
            while time.monotonic() < deadline and process.poll() is None:
                found.look(server, running=not index.exists())
                if index.exists() and server.values(written) == [read_index(str(folder / "out")).written]:
                    break
                time.sleep(0.5)
            found.look(server, running=False)
            (found.written,) = server.values(written)
            found.states = server.states()
            found.unwritten = {name for name in METRICS if not server.values(f'{name}{{ray_cluster="dentgen"}}')}
            found.targets = server.ask("targets")["activeTargets"]
    assert found.written == read_index(str(folder / "out")).written == 4 * (len(demo_members) - 2)
    return found


def test_it_scrapes_the_nodes_that_ray_lists(seen: Seen) -> None:
    assert seen.targets
    assert {target["health"] for target in seen.targets} == {"up"}
    assert {target["labels"]["ray_cluster"] for target in seen.targets} == {"dentgen"}
    assert all(target["scrapeUrl"] == f"http://{target['labels']['pod']}/metrics" for target in seen.targets)
    assert seen.unwritten == {RETRIES}, "no unit was tried again, all else is there, with the label of its cluster"


def test_it_tells_pictures_per_second_while_the_build_runs(seen: Seen) -> None:
    (series,) = seen.rates[-1]["result"]
    print(RATE, json.dumps(seen.rates[-1]))  # noqa: T201
    assert 0 < float(series["value"][1]) < seen.written


def test_every_panel_of_the_dashboard_has_data(seen: Seen) -> None:
    assert [question for question in seen.questions if question not in seen.answers] == [
        question for question in seen.questions if RETRIES in question
    ]


def test_every_alert_is_evaluated(seen: Seen) -> None:
    assert {name: health for name, (health, _) in seen.states.items()} == {rule["alert"]: "ok" for rule in rules()}
    states = {name: state for name, (_, state) in seen.states.items()}
    assert states["DentgenManyRejected"] == "pending", "a tenth was rejected, but not for ten minutes yet"
    quiet = {"DentgenNoProgress", "DentgenLeaseLost", "DentgenUnitsRetried", "DentgenSlowStorage"}
    assert {states[name] for name in quiet} == {"inactive"}
