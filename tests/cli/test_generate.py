"""``dentgen generate``: the demo, what counts as success, the summary, and an interruption."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from dentgen.cli.generate import summary
from dentgen.documents.index import DatasetIndex, ShardEntry
from dentgen.pipeline.actors.heartbeat import Beat
from dentgen.pipeline.actors.watchdog import ActorReport
from dentgen.pipeline.run import BuildOutcome
from dentgen.pipeline.tally import Tally
from dentgen.pipeline.unit_outcome import UnitOutcome
from tests.cli.running import Finished, dentgen
from tests.conftest import ROOT, problems, small_spec, write_tar


@pytest.mark.ray
@pytest.mark.slow
def test_the_demo_builds_as_a_command(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    run = dentgen("generate", "jobs/specs/demo.yaml", "--set", f"output.path={out}")
    assert run.returncode == 0, run.stderr
    assert "80 samples written, 0 rejected, of 80 planned" in run.stdout
    assert "Traceback" not in run.stderr
    assert re.search(r"actor on .*: start-up \d+\.\d s, engine busy \d+% of the time", run.stderr)
    assert problems(out) == []


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("actors", [1, {"min": 1, "max": 1}], ids=["Ray Data", "a pool"])
def test_json_logs_of_driver_and_actors_are_objects_with_unit_and_attempt(
    tmp_path: Path, demo_members: dict[str, dict[str, bytes]], actors: object
) -> None:
    keys = sorted(demo_members)[:3]
    records = {key: dict(demo_members[key]) for key in keys}
    records[keys[1]]["seg.png"] = b"torn"
    write_tar(tmp_path / "s" / "x.tar", records)
    spec = tmp_path / "spec.yaml"
    pipeline = {"samples_per_shard": 2, "actors": actors}
    sections: dict[str, dict[str, object]] = {"pipeline": pipeline, "quality": {"max_rejected": 0.5}}
    spec.write_text(yaml.safe_dump(small_spec(tmp_path / "s", tmp_path / "out", **sections).model_dump(mode="json")))
    run = dentgen("--log-format", "json", "generate", str(spec))
    assert run.returncode == 0, run.stderr
    native = re.compile(r"\[[-0-9]{10} [0-9:,]+ [EWI] ")  # of Ray's C++, which writes to the descriptor itself
    told = [json.loads(line) for line in run.stderr.splitlines() if not native.match(line)]
    made = [record for record in told if record["logger"] == "dentgen.pipeline.actors.actor_work"]
    of_units = {record["unit"]: record["attempt"] for record in made}
    assert of_units == {"000000": 1, "000001": 1, "000002": 1}
    assert {record["build"] for record in made} == {str(tmp_path / "out")}
    rejected = [(record["unit"], record["key"]) for record in made if "key" in record]
    assert rejected == [("000001", f"{keys[1]}-v00{variant}") for variant in range(2)]
    assert run.stdout.startswith("4 samples written, 2 rejected, of 6 planned\n")


@pytest.mark.integration
def test_too_many_rejected_samples_are_no_success(
    tmp_path: Path, demo_members: dict[str, dict[str, bytes]], here: Callable[..., Finished]
) -> None:
    keys = sorted(demo_members)[:2]
    records = {key: dict(demo_members[key]) for key in keys}
    records[keys[0]]["seg.png"] = b"damaged"
    write_tar(tmp_path / "s" / "x.tar", records)
    spec = tmp_path / "spec.yaml"
    spec.write_text(yaml.safe_dump(small_spec(tmp_path / "s", tmp_path / "out").model_dump(mode="json")))
    run = here("generate", str(spec), "--no-ray")
    assert run.returncode == 1
    assert "quality.max_rejected" in run.stderr
    assert "50.0%" in run.stderr
    assert run.stdout == "", "what failed prints no success"
    tolerant = here("generate", str(spec), "--no-ray", "--set", "quality.max_rejected=0.5")
    assert tolerant.returncode == 0
    assert tolerant.stdout.startswith("2 samples written, 2 rejected, of 4 planned\n")


@pytest.mark.slow
@pytest.mark.parametrize("ray", [False, pytest.param(True, marks=pytest.mark.ray)])
def test_ctrl_c_ends_with_one_clean_line_and_resumes(ray: bool, tmp_path: Path) -> None:
    out = tmp_path / "out"
    few = ("source.limit=6", "sampling.variants=1", "sampling.steps=2", "pipeline.samples_per_shard=1",
           f"output.path={out}")  # fmt: skip
    settings = [word for setting in few for word in ("--set", setting)]
    arguments = ["generate", "demo", *settings, *([] if ray else ["--no-ray"])]
    command = [sys.executable, "-m", "dentgen", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("generating"):
                process.send_signal(signal.SIGINT)
                break
        rest = process.stderr.read()
    assert process.returncode == 130
    assert rest.splitlines()[-1].startswith("interrupted")
    assert "Traceback" not in rest
    assert not (out / "lease.json").exists()
    done = len(list((out / "ledger").iterdir()))
    assert 0 < done < 6
    if not ray:
        assert f"{6 - done} pending" in dentgen(*arguments).stderr


def test_the_summary_tells_what_this_run_did(small_source: Path, tmp_path: Path, here: Callable[..., Finished]) -> None:
    spec, events = tmp_path / "spec.yaml", tmp_path / "events.jsonl"
    spec.write_text(yaml.safe_dump(small_spec(small_source, tmp_path / "out").model_dump(mode="json")))
    run = here("generate", str(spec), "--no-ray", "--lineage", str(events))
    lines = run.stdout.splitlines()
    assert lines[0] == "10 samples written, 0 rejected, of 10 planned"
    assert re.fullmatch(r"version 0: 3 shards, \d+\.\d MB", lines[1])
    assert re.fullmatch(r"this run: 10 samples, \d+\.\d MB in 0:\d\d:\d\d, \S+ samples/s", lines[2])
    assert lines[3] == "3 units, no unit needed a second attempt"
    assert lines[-2:] == [f"dataset: {tmp_path / 'out'}", f"look at: {tmp_path / 'out' / 'report.html'}"]
    assert len(lines) < 24, "one screen"
    assert [json.loads(line)["eventType"] for line in events.read_text().splitlines()] == ["START", "COMPLETE"]
    again = here("generate", str(spec), "--no-ray").stdout.splitlines()
    assert again[2] == "this run: nothing was left to generate"


def test_the_summary_names_retries_rejections_and_how_busy_engines_were() -> None:
    index = DatasetIndex(
        version=2, spec_digest="", bundle_digest="", planned=10, written=7, rejected=3,
        shards=(ShardEntry(name="000000.tar", bytes=1_500_000, sha256="", samples=7),),
    )  # fmt: skip
    run = Tally()
    run.add(UnitOutcome(0, 4, attempt=3, bytes=500_000))
    actors = tuple(ActorReport(Beat("h", up_seconds=10, busy_seconds=busy), 1.0) for busy in (5, 10))
    outcome = BuildOutcome(
        index, "report", 1, (), actors, run=run, seconds=8.0, rejected={"not_finite": 2, "invalid": 1}
    )
    assert list(summary(outcome)) == [
        "7 samples written, 3 rejected, of 10 planned",
        "version 2: 1 shards, 1.5 MB",
        "rejected: 2 not_finite, 1 invalid",
        "this run: 4 samples, 0.5 MB in 0:00:08, 0.5 samples/s",
        "1 units, 1 units needed more than one attempt",
        "2 actors, engines busy 75% of the time",
    ]
