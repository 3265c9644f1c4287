"""The training commands of the README and every spec that ships, run as they stand there, for two steps on ten jaws."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.test_layout import readme_commands

SHORT = ("steps=2", "batch=2", "validate_steps=1", "validate_split=''", "validate_records=1", "split=''")


@pytest.mark.long
def test_the_training_commands_of_the_readme_make_a_bundle(tmp_path: Path) -> None:
    (tmp_path / "jobs").symlink_to(ROOT / "jobs")
    commands = [command for command in readme_commands() if "work/phantoms" in command or "jobs/train.py" in command]
    begin = next(i for i, command in enumerate(commands) if command.startswith("dentgen phantom work/phantoms"))
    render, *training = commands[begin:]
    _run([sys.executable, "-m", *shlex.split(render.replace("--count 3000", "--count 10"))], tmp_path)
    shown = [shlex.split(command)[2] for command in training]
    others = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "jobs" / "specs").glob("train-*.yaml"))
    training += [f"python jobs/train.py {spec}" for spec in others if spec not in shown]
    for command in training:
        options = [option for value in SHORT for option in ("--set", value)]
        _run([sys.executable, *shlex.split(command)[1:], *options], tmp_path)
    bundle = tmp_path / "work" / "miniature"
    assert {"blended", "normal", "segmentation"} <= {path.name for path in (bundle / "adapters").iterdir()}
    for part in ("tiny_decoder", "loras/lcm", "controlnets/blended"):
        assert any((bundle / part).glob("*.safetensors")), part
    assert len(list((tmp_path / "work" / "train" / "adapter" / "previews").iterdir())) == 2
    _run([sys.executable, "-m", "dentgen", "models", "verify", str(bundle)], tmp_path)


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, (command, done.stderr[-2000:])
