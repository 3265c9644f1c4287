"""Builds on clusters whose GPUs come and go: more are used as they join, and lost ones cost no build and no byte."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from dentgen.pipeline.run import build
from dentgen.spec.build import BuildSpec
from tests.conftest import ROOT, problems, shard_bytes, small_spec, write_tar

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def drive(scenario: str, spec: BuildSpec, folder: Path) -> dict[str, Any]:
    """Run a scenario in a process of its own, with a cluster of its own."""
    path = folder / "spec.yaml"
    path.write_text(yaml.safe_dump(spec.model_dump(mode="json")))
    run = subprocess.run(
        [sys.executable, "-m", "tests.builds.elastic_driver", scenario, str(path)], cwd=ROOT, capture_output=True,
        text=True, timeout=900, check=False,
        env={**os.environ, "RAY_AUTH_MODE": "disabled", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-4000:]
    found: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return found


def test_gpus_that_join_are_used(tmp_path: Path) -> None:
    """All but ten units wait until four actors are there, one on every GPU; the range allows five."""
    write_tar(tmp_path / "conditions" / "a.tar", {f"r{number:02d}": {"json": b"{}"} for number in range(40)})
    (tmp_path / "expected").write_text("4")
    pipeline: dict[str, object] = {"samples_per_shard": 1, "actors": {"min": 1, "max": 5}, "gpus_per_actor": 1}
    spec = small_spec(tmp_path / "conditions", tmp_path / "out", sampling={"variants": 1}, pipeline=pipeline)
    assert drive("grow", spec, tmp_path) == {"units": 40, "committed": 40, "actors": 4, "errors": []}


def test_parts_of_one_gpu_hold_several_actors(tmp_path: Path) -> None:
    """Seven actors on four GPUs, half of one each, of eight that there is room for; six would not hold all units."""
    write_tar(tmp_path / "conditions" / "a.tar", {f"r{number:02d}": {"json": b"{}"} for number in range(80)})
    (tmp_path / "expected").write_text("7")
    pipeline: dict[str, object] = {"samples_per_shard": 1, "actors": {"min": 1, "max": 7}, "gpus_per_actor": 0.5}
    spec = small_spec(tmp_path / "conditions", tmp_path / "out", sampling={"variants": 1}, pipeline=pipeline)
    found = drive("grow", spec, tmp_path)
    assert (found["committed"], found["errors"]) == (80, [])
    assert len(list((tmp_path / "marks").iterdir())) == 7


def test_a_node_that_is_lost_for_good_costs_no_build_and_no_byte(
    tmp_path: Path, demo_members: dict[str, dict[str, bytes]]
) -> None:
    """No other node has room for its actor, which never comes back."""
    keys = sorted(demo_members)[:9]
    write_tar(tmp_path / "conditions" / "a.tar", {key: demo_members[key] for key in keys})
    settings: dict[str, object] = {"samples_per_shard": 2, "actors": {"min": 2, "max": 2}, "gpus_per_actor": 1}
    spec = small_spec(tmp_path / "conditions", tmp_path / "out", pipeline=settings)
    build(small_spec(tmp_path / "conditions", tmp_path / "whole", pipeline={"samples_per_shard": 2}), use_ray=False)
    found = drive("shrink", spec, tmp_path)
    assert found["written"] == found["planned"] == 18
    assert found["killed"]
    assert shard_bytes(tmp_path / "out") == shard_bytes(tmp_path / "whole")
    assert problems(tmp_path / "out") == []
