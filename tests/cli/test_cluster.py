"""``dentgen cluster``: manifests are printed or written, ticks start builds."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
import yaml
from typer.testing import CliRunner

from dentgen.cli.app import app
from dentgen.cli.cluster import KindName
from dentgen.cluster.manifests import Kind
from dentgen.cluster.tick import RayJobs
from dentgen.errors import SpecError
from tests.cluster.api_server import running_api
from tests.conftest import ROOT

SPEC = str(ROOT / "jobs" / "specs" / "demo.yaml")
RENDER = ["cluster", "render", SPEC, "--image", "registry.example.com/dentgen:7", "--set", "source.path=s3://b/c",
          "--set", "output.path=s3://b/d"]  # fmt: skip


def test_the_command_knows_every_kind() -> None:
    assert get_args(KindName) == get_args(Kind)


def test_a_manifest_is_printed_or_written(tmp_path: Path) -> None:
    printed = CliRunner().invoke(app, RENDER)
    assert printed.exit_code == 0, printed.output
    config, job = yaml.safe_load_all(printed.stdout)
    assert (config["kind"], job["kind"]) == ("ConfigMap", "RayJob")
    assert yaml.safe_load(config["data"]["build.yaml"])["output"] == {"path": "s3://b/d"}
    written = CliRunner().invoke(app, [*RENDER, "--out", str(tmp_path / "job.yaml")])
    assert written.stdout == ""
    assert (tmp_path / "job.yaml").read_text() == printed.stdout


def test_options_reach_the_manifest() -> None:
    options = ["--kind", "raycronjob", "--gpus", "4", "--spot", "--schedule", "@daily", "--time-zone", "Europe/Berlin",
               "--name", "kids", "--namespace", "research", "--service-account", "reader"]  # fmt: skip
    run = CliRunner().invoke(app, [*RENDER, *options])
    _, cron = yaml.safe_load_all(run.stdout)
    assert cron["metadata"]["name"] == "kids"
    assert cron["metadata"]["namespace"] == "research"
    assert (cron["spec"]["schedule"], cron["spec"]["timeZone"]) == ("@daily", "Europe/Berlin")
    job = cron["spec"]["jobTemplate"]
    assert job["entrypoint"].endswith("'pipeline.actors={min: 4, max: 4}'")  # spot nodes come back: a pool follows them
    assert job["submitterPodTemplate"]["spec"]["serviceAccountName"] == "reader"
    assert [group["groupName"] for group in job["rayClusterSpec"]["workerGroupSpecs"]] == ["cpu", "gpu-spot"]


def test_a_spec_with_local_paths_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    out = tmp_path / "job.yaml"
    run = CliRunner().invoke(app, ["cluster", "render", SPEC, "--image", "dentgen:7", "--out", str(out)])
    assert isinstance(run.exception, SpecError)
    assert [fault.key for fault in run.exception.faults] == ["source.path", "output.path"]
    assert not out.exists()


def test_a_tick_says_what_it_did(monkeypatch: pytest.MonkeyPatch) -> None:
    with running_api() as api:
        api.jobs["kids"] = {"apiVersion": "ray.io/v1", "kind": "RayJob", "metadata": {}, "spec": {"suspend": True}}
        monkeypatch.setattr(RayJobs, "of_this_pod", api.account)
        tick = ["cluster", "start", "kids", "--name", "kids-1", "--owner", "uid"]
        first, second = (CliRunner().invoke(app, tick) for _ in range(2))
    assert (first.exit_code, first.stdout) == (0, "RayJob kids-1: started\n")
    assert (second.exit_code, second.stdout) == (0, "RayJob kids-1: is there already, nothing to do\n")
    assert api.jobs["kids-1"]["metadata"]["ownerReferences"][0]["uid"] == "uid"
