"""The command line as users run it: the README's commands on small inputs, exit codes, messages."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import DEMO, ROOT, write_tar
from tests.test_layout import readme_commands


def dentgen(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dentgen", *arguments],
        cwd=cwd, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip


@pytest.mark.ray
def test_the_demo_builds_verifies_and_shows_itself(tmp_path: Path) -> None:
    out = str(tmp_path / "demo")
    run = dentgen("generate", "jobs/specs/demo.yaml", "--set", f"output.path={out}")
    assert run.returncode == 0, run.stderr
    assert "80 samples written, 0 rejected, of 80 planned" in run.stdout
    assert out in run.stdout
    sheet = np.asarray(Image.open(tmp_path / "demo" / "contact_sheet.png"))
    assert sheet.shape[2] == 3
    assert sheet.std() > 30, "a sheet of one colour shows nothing"
    verified = dentgen("verify", out)
    assert (verified.returncode, verified.stdout.strip()) == (0, "80 samples in 6 units: 0 problems")
    assert dentgen("status", out).stdout.startswith("6 of 6 units done")
    (tmp_path / "demo" / "shards" / "000002.tar").unlink()
    broken = dentgen("verify", out)
    assert broken.returncode == 1
    assert "shards/000002.tar" in broken.stderr


def test_wrong_use_is_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("sampling: {stpes: 4}")
    run = dentgen("generate", str(tmp_path / "bad.yaml"))
    assert run.returncode == 2
    assert "sampling.stpes" in run.stderr
    assert "Traceback" not in run.stderr
    assert dentgen("no-such-command").returncode == 2
    assert dentgen("generate", str(tmp_path / "not-there.yaml")).returncode == 2


def test_plan_says_what_a_build_would_do() -> None:
    run = dentgen("plan", "jobs/specs/demo.yaml")
    assert "2 condition shards, 20 records" in run.stdout
    assert "6 units, 80 samples" in run.stdout


def test_phantoms_are_rendered_once_and_never_mixed(tmp_path: Path) -> None:
    arguments = ("phantom", str(tmp_path / "p"), "--count", "6", "--seed", "2026", "--size", "48", "--shard-size", "3")
    assert "2 shards rendered now" in dentgen(*arguments).stdout
    assert "0 shards rendered now" in dentgen(*arguments).stdout
    other = dentgen(*arguments[:-1], "2")
    assert other.returncode == 2
    assert "choose another folder" in other.stderr


def test_commands_of_the_readme_are_commands() -> None:
    """Long ones are run by tests of their own; every one must at least parse."""
    known = dentgen("--help").stdout
    for command in readme_commands():
        words = command.split()
        if words[0] == "dentgen":
            assert f" {words[1]} " in known, command
        elif words[0] == "python":
            assert (ROOT / words[1]).exists(), command


def build_with(spec_name: str, source: Path, out: Path, *overrides: str) -> dict[str, bytes]:
    """Pictures of a build by sample key."""
    from dentgen.pipeline.run import build
    from dentgen.shards.reader import read_samples
    from dentgen.spec import read_spec

    settings = [f"source.path={source}", f"output.path={out}", *overrides]
    outcome = build(read_spec(ROOT / "jobs" / "specs" / spec_name, settings), use_ray=False)
    assert outcome.index.rejected == 0
    return {key: members["png"] for key, members in read_samples(str(out))}


def test_a_folder_and_a_tar_give_the_same_pictures(tmp_path: Path, demo_members: dict[str, dict[str, bytes]]) -> None:
    few = {key: demo_members[key] for key in sorted(demo_members)[:3]}
    write_tar(tmp_path / "x.tar", few)
    (tmp_path / "folder").mkdir()
    for key, members in few.items():
        for extension, content in members.items():
            (tmp_path / "folder" / f"{key}.{extension}").write_bytes(content)
    from_tar = build_with("real-conditions.yaml", tmp_path / "x.tar", tmp_path / "1")
    assert len(from_tar) == 12
    assert build_with("real-conditions.yaml", tmp_path / "folder", tmp_path / "2") == from_tar


@pytest.mark.skipif("DENTGEN_REAL_CONDITIONS" not in os.environ, reason="DENTGEN_REAL_CONDITIONS names no folder")
def test_maps_of_real_photographs(tmp_path: Path) -> None:
    """720 x 540 maps of real teeth, from a folder and from the tar in it."""
    folder = Path(os.environ["DENTGEN_REAL_CONDITIONS"])
    (tar,) = folder.glob("*.tar")
    from_tar = build_with("real-conditions.yaml", tar, tmp_path / "1")
    assert len(from_tar) == 20
    assert build_with("real-conditions.yaml", folder, tmp_path / "2", "source.format=folder") == from_tar


def test_the_demo_shard_is_what_the_renderer_makes() -> None:
    """The ready-made shard is no drawing by hand: rendering its first patient again gives the same labels."""
    from io import BytesIO

    from dentgen.conditions.phantom import render_patient
    from dentgen.conditions.sources import list_shards, read_records

    raw = next(read_records(list_shards(str(DEMO))[0]))
    (phantom,) = render_patient(2026, 0, 128, ("frontal",))
    assert raw.key == phantom.key
    assert (np.asarray(Image.open(BytesIO(raw.members["seg.png"]))) == phantom.maps["seg"]).mean() > 0.999
