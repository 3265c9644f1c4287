"""Builds that overlap: the second is told who builds, the first finishes, and who loses the lease stops."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from dentgen import storage
from dentgen.documents import LeaseRecord
from dentgen.errors import BuildError
from dentgen.pipeline.repair import repair
from dentgen.pipeline.run import build
from dentgen.shards.gc import stray_files
from dentgen.shards.plan_file import plan_files, read_plan
from dentgen.shards.tar import json_bytes
from tests.conftest import ROOT, problems, shard_bytes, small_spec


def dentgen(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dentgen", *words],
        cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip


def put_lease_of_another_host(out: Path) -> None:
    other = LeaseRecord(owner="x", host="far", process=7, process_started=1, since="then", seconds=60)
    storage.overwrite(str(out / "lease.json"), json_bytes(other.model_dump(mode="json")))  # whole, as builds do


def test_a_second_build_ends_with_a_line_and_the_first_finishes(small_source: Path, tmp_path: Path) -> None:
    """Real processes: the second one runs while this one is between its first two units."""
    build(small_spec(small_source, tmp_path / "whole"), use_ray=False)
    out, path = tmp_path / "out", tmp_path / "spec.yaml"
    spec = small_spec(small_source, out, pipeline={"lease_seconds": 6})
    path.write_text(yaml.safe_dump(spec.model_dump(mode="json")))
    ended: list[subprocess.CompletedProcess[str]] = []

    def overlap(samples: int, planned: int) -> None:
        if not ended:
            ended.extend(dentgen(*words) for words in (["generate", str(path), "--no-ray"], ["status", str(out)]))
            with pytest.raises(BuildError, match="builds here and lives"):
                repair(str(out), use_ray=False)

    build(spec, use_ray=False, progress=overlap)
    second, status = ended
    assert second.returncode == 1, second.stderr
    (line,) = [line for line in second.stderr.splitlines() if line.startswith("error:")]
    assert f"process {os.getpid()} on " in line
    assert "taken over when it has been silent for 6 s" in line
    assert "Traceback" not in second.stderr
    assert f"building: process {os.getpid()} on " in status.stdout
    assert "1 of 3 units done" in status.stdout
    assert shard_bytes(out) == shard_bytes(tmp_path / "whole")
    assert problems(out) == []
    assert not (out / "lease.json").exists()


@pytest.mark.parametrize("use_ray", [False, pytest.param(True, marks=[pytest.mark.ray, pytest.mark.slow])])
def test_who_loses_the_lease_stops_at_the_next_unit(
    use_ray: bool, small_source: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if use_ray:
        request.getfixturevalue("ray_local")
    build(small_spec(small_source, tmp_path / "whole"), use_ray=False)
    out = tmp_path / "out"
    done: list[int] = []

    def taken_over_after_the_first_unit(samples: int, planned: int) -> None:
        done.append(samples)
        if len(done) == 1:
            put_lease_of_another_host(out)
            time.sleep(5)  # many times what the lease is looked at; a busy machine needs it

    spec = small_spec(small_source, out, pipeline={"lease_seconds": 1})
    with pytest.raises(BuildError, match=r"process 7 on far \(since then\) took over"):
        build(spec, use_ray=use_ray, progress=taken_over_after_the_first_unit)
    assert len(done) == 1
    assert (out / "lease.json").exists(), "the winner's lease is left alone"
    (out / "lease.json").unlink()
    made = build(spec, use_ray=False).made
    assert made <= 2 if use_ray else made == 2, "actors may have committed what they had begun"
    assert shard_bytes(out) == shard_bytes(tmp_path / "whole")


def test_a_build_that_raises_lets_the_next_one_build(small_source: Path, tmp_path: Path) -> None:
    def fail(samples: int, planned: int) -> None:
        raise ZeroDivisionError

    spec = small_spec(small_source, tmp_path / "out")
    with pytest.raises(ZeroDivisionError):
        build(spec, use_ray=False, progress=fail)
    assert not (tmp_path / "out" / "lease.json").exists()
    seen: list[tuple[int, int]] = []
    assert build(spec, use_ray=False, progress=lambda *told: seen.append(told)).made == 2
    assert seen == [(6, 10), (10, 10)], "what was committed counts, and counts once"


def test_the_lease_is_no_stray_and_no_problem(small_source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    build(small_spec(small_source, out), use_ray=False)
    put_lease_of_another_host(out)
    assert stray_files(str(out), read_plan(str(out)), plan_files()) == []
    assert problems(out) == []
    (out / "lease.json").unlink()
    assert repair(str(out), use_ray=False).problems == ()
    assert not (out / "lease.json").exists()


def test_the_seconds_of_a_lease_decide_no_bytes(small_source: Path, tmp_path: Path) -> None:
    spec = small_spec(small_source, tmp_path)
    assert small_spec(small_source, tmp_path, pipeline={"lease_seconds": 7}).digest() == spec.digest()
