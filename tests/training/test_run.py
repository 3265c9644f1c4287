"""Runs from a spec: no traces in the caller's process, and the README's commands from data to bundle."""

from __future__ import annotations

import logging
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dentgen.errors import DentgenError
from dentgen.training.run import run_training
from tests.conftest import ROOT
from tests.docs.commands import readme_commands
from tests.training.runs import copied_bundle, train_spec

SHORT = (
    "steps=2", "batch=2", "validate_steps=1", "validate_split=null", "validate_records=1", "source.split=null",
)  # fmt: skip


def test_a_run_leaves_threads_and_loggers_as_they_were(phantoms: str, family: Path, tmp_path: Path) -> None:
    folder = copied_bundle(family, tmp_path)
    handlers = list(logging.getLogger().handlers)
    for export_only in (False, True):
        run_training(train_spec(phantoms, folder, "adapter", threads=3, steps=1), export_only=export_only)
        assert torch.get_num_threads() == 1
    with pytest.raises(DentgenError):
        run_training(train_spec(str(tmp_path / "nowhere"), folder, "adapter", threads=3))
    assert torch.get_num_threads() == 1
    assert logging.getLogger().handlers == handlers


@pytest.mark.long
def test_the_training_commands_of_the_readme_make_a_bundle(tmp_path: Path) -> None:
    """And every spec that ships, for two steps on ten jaws."""
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
