"""``jobs/generate.py`` as users start it: submitted to a running cluster, from S3 to S3."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from dentgen import storage
from dentgen.pipeline.run import build
from dentgen.shards.index_reader import read_index
from dentgen.spec.yaml_file import read_spec
from tests.conftest import DEMO, ROOT, problems, shard_bytes
from tests.jobs.cluster import RAY, Cluster, require_same_as_command, submit

DEMO_SPEC = "jobs/specs/demo.yaml"
JOB = ("submit", "--working-dir", ".", "--", "python", "jobs/generate.py", DEMO_SPEC)


def test_it_is_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    require_same_as_command("generate", monkeypatch, capsys)


#: What the commands of README and guide leave in a checkout.
LEFT = (
    "out/demo/shards/000000.tar", "out/demo-preview-4/index.json", "work/phantoms/a.tar", "conditions/a.tar",
    "relit/a.tar", "children/a.tar", "mirrors/a.tar", "scans/a.tar", "maps/a.png", "sheet.png", "wheels/a.whl",
    "site/index.html", "dist/a.whl", "build/lib/a.py", "dentgen.egg-info/PKG-INFO", ".venv/bin/python", ".cache/x",
    "dentgen/__pycache__/a.pyc", ".pytest_cache/x", ".mypy_cache/x", ".ruff_cache/x", ".hypothesis/x",
)  # fmt: skip


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no checkout")
def test_a_job_takes_along_the_repository_and_nothing_that_other_commands_left_in_it(tmp_path: Path) -> None:
    """What Ray's own function packs, from a copy of the checkout without contents."""
    from ray._private.runtime_env.packaging import create_package

    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    tracked = set(listed.splitlines())
    for name in (*tracked, *LEFT):
        file = tmp_path / "checkout" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    shutil.copy(ROOT / ".gitignore", tmp_path / "checkout")
    create_package(str(tmp_path / "checkout"), tmp_path / "package.zip", include_gitignore=True)
    with zipfile.ZipFile(tmp_path / "package.zip") as package:
        packed = {name for name in package.namelist() if not name.endswith("/")}
    assert packed == tracked
    assert sum((ROOT / name).stat().st_size for name in tracked) < 200 * 2**20, "Ray takes 500 MiB at most"


@pytest.mark.ray
@pytest.mark.slow
def test_a_submitted_job_from_s3_to_s3_gives_the_bytes_of_a_local_build(
    cluster: Cluster, s3_root: str, tmp_path: Path
) -> None:
    source, out = storage.join(s3_root, "job-conditions"), storage.join(s3_root, "job-out")
    for path in sorted(DEMO.glob("*.tar")):
        storage.put_if_absent(storage.join(source, path.name), path.read_bytes())
    run = submit(cluster, *JOB, "--set", f"source.path={source}", "--set", f"output.path={out}")
    assert run.returncode == 0, run.stdout[-4000:]
    index = read_index(out)
    assert (index.planned, index.written, index.rejected) == (80, 80, 0)
    assert re.search(r"\n\w+: .*\b80/80\b", run.stdout), "progress is whole lines in a log"
    assert "\r" not in run.stdout
    assert problems(out) == []
    build(read_spec(ROOT / DEMO_SPEC, [f"output.path={tmp_path / 'here'}"]), use_ray=False)
    names = storage.list_names(storage.join(out, "shards"))
    there = {name: hashlib.sha256(storage.read_bytes(storage.join(out, "shards", name))).hexdigest() for name in names}
    here = {name: hashlib.sha256(data).hexdigest() for name, data in shard_bytes(tmp_path / "here").items()}
    assert there == here


@pytest.mark.ray
@pytest.mark.slow
def test_a_job_does_not_write_into_its_temporary_folder(cluster: Cluster) -> None:
    run = submit(cluster, *JOB)
    assert run.returncode != 0
    assert "output.path" in run.stdout, "a relative output would be lost with the job"


@pytest.mark.ray
@pytest.mark.slow
def test_a_running_cluster_can_be_joined(cluster: Cluster, tmp_path: Path) -> None:
    out = tmp_path / "joined"
    run = subprocess.run(
        [sys.executable, "-m", "dentgen", "generate", DEMO_SPEC, "--address", cluster.address,
         "--set", f"output.path={out}", "--limit", "4"],
        cwd=ROOT, env={**os.environ, **RAY}, capture_output=True, text=True, check=False, timeout=200,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]
    assert problems(out) == []
    spec = read_spec(ROOT / DEMO_SPEC, [f"output.path={tmp_path / 'here'}", "source.limit=4"])
    build(spec, use_ray=False)
    assert shard_bytes(out) == shard_bytes(tmp_path / "here")
