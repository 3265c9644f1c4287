"""The command line as users run it: the README's commands on small inputs, exit codes, messages."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from dentgen.cli import main
from tests.conftest import DEMO, ROOT, problems, small_spec, write_tar
from tests.test_layout import readme_commands


def dentgen(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dentgen", *arguments],
        cwd=cwd, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip


@dataclass(frozen=True)
class Finished:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


SHORTENED = {"--count 1000": "--count 2"}
SAID = {
    "phantom": "2 records in conditions/, 1 shards rendered now",
    "plan": "6 units, 80 samples",
    "generate --limit": "16 samples written, 0 rejected, of 16 planned\ndataset: out/demo-preview-4/",
    "generate": "80 samples written, 0 rejected, of 80 planned\ndataset: out/demo/\nlook at: out/demo/report.html",
    "status": "6 of 6 units done",
    "verify": "80 samples in 6 units: 0 problems",
    "repair": "0 problems, 0 units made again, 0 left",
    "gc": "0 files, 0 bytes",
    "report": "out/demo/report.html",
}


@pytest.mark.ray
@pytest.mark.slow
def test_the_commands_of_the_readme_say_what_it_promises(tmp_path: Path) -> None:
    """Run one after the other, as they stand there; rendering a thousand jaws is cut to two."""
    (tmp_path / "jobs").symlink_to(ROOT / "jobs")
    commands = [command for command in readme_commands() if command.startswith("dentgen ")][: len(SAID)]
    for command in commands:
        for long, short in SHORTENED.items():
            command = command.replace(long, short)  # noqa: PLW2901
        run = dentgen(*command.split()[1:], cwd=tmp_path)
        assert run.returncode == 0, (command, run.stderr)
        name = command.split()[1] + (" --limit" if "--limit" in command else "")
        assert SAID.pop(name) in run.stdout, (command, run.stdout)
        if name == "plan":
            assert re.search(r"expected: \d+\.\d MB and 0:\d\d:\d\d with 1 actors, measured on 16 samples", run.stdout)
        if name == "generate":
            assert re.search(r"actor on .*: start-up \d+\.\d s, engine busy \d+% of the time", run.stderr)
    assert not SAID, "the README shows every command"
    sheet = np.asarray(Image.open(tmp_path / "out" / "demo" / "contact_sheet.png"))
    assert sheet.std() > 30, "a sheet of one colour shows nothing"


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Finished]:
    """The command line in this process: the same code without the seconds that a new process takes to import."""

    def run(*arguments: str) -> Finished:
        monkeypatch.setattr(sys, "argv", ["dentgen", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return Finished(int(ended.value.code or 0), printed.out, printed.err)

    return run


def test_damage_is_exit_code_1_and_repaired(small_source: Path, tmp_path: Path, here: Callable[..., Finished]) -> None:
    out, spec = tmp_path / "out", tmp_path / "spec.yaml"
    spec.write_text(yaml.safe_dump(small_spec(small_source, out).model_dump(mode="json")))
    assert here("generate", str(spec), "--no-ray").returncode == 0
    (out / "shards" / "000001.tar").unlink()
    (out / "shards" / "000009.tar").write_bytes(b"stray")
    broken = here("verify", str(out))
    assert broken.returncode == 1
    assert "shards/000001.tar: not there" in broken.stderr
    repaired = here("repair", str(out), "--no-ray")
    assert repaired.returncode == 0, repaired.stderr
    assert "1 problems, 1 units made again, 0 left" in repaired.stdout
    assert "000009.tar" in here("gc", str(out)).stdout
    assert (out / "shards" / "000009.tar").exists(), "listing removes nothing"
    assert "1 files, 5 bytes removed" in here("gc", str(out), "--remove").stdout
    assert not (out / "shards" / "000009.tar").exists()


@pytest.mark.ray
def test_the_demo_builds_as_a_command(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    run = dentgen("generate", "jobs/specs/demo.yaml", "--set", f"output.path={out}")
    assert run.returncode == 0, run.stderr
    assert "80 samples written, 0 rejected, of 80 planned" in run.stdout
    assert "Traceback" not in run.stderr
    assert re.search(r"actor on .*: start-up \d+\.\d s, engine busy \d+% of the time", run.stderr)
    assert problems(out) == []


def test_wrong_use_is_exit_code_2(tmp_path: Path, here: Callable[..., Finished]) -> None:
    (tmp_path / "bad.yaml").write_text("sampling: {stpes: 4}")
    run = here("generate", str(tmp_path / "bad.yaml"))
    assert run.returncode == 2
    assert "sampling.stpes" in run.stderr
    assert "Traceback" not in run.stderr
    assert here("no-such-command").returncode == 2
    assert here("generate", str(tmp_path / "not-there.yaml")).returncode == 2


def test_phantoms_are_rendered_once_and_never_mixed(tmp_path: Path, here: Callable[..., Finished]) -> None:
    arguments = ("phantom", str(tmp_path / "p"), "--count", "6", "--seed", "2026", "--size", "48", "--shard-size", "3")
    assert "2 shards rendered now" in here(*arguments).stdout
    assert "0 shards rendered now" in here(*arguments).stdout
    other = here(*arguments[:-1], "2")
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
