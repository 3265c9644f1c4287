"""From an empty folder to a trained epoch of somebody else's trainer, with the README's lines."""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.docs.commands import blocks

SHORTENED = {"--count 200": "--count 10"}


@pytest.mark.ray
@pytest.mark.long
@pytest.mark.skipif(shutil.which("nnUNetv2_train") is None, reason="nnU-Net is not installed: pip install nnunetv2")
def test_the_readmes_lines_train_an_epoch_of_nnunet(tmp_path: Path) -> None:
    (block,) = [block for block in blocks(ROOT / "README.md", "sh") if "nnUNetv2_train" in block]
    lines = block.splitlines()
    assert len(lines) <= 10
    assert lines[0] == "pip install nnunetv2"
    script = "\n".join(["set -e", *lines[1:]])
    for long, short in SHORTENED.items():
        assert long in script
        script = script.replace(long, short)
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    run = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PATH": places},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-4000:]
    assert "40 samples written, 0 rejected" in run.stdout
    (checkpoint,) = (tmp_path / "nnunet" / "results").rglob("checkpoint_final.pth")
    assert checkpoint.stat().st_size > 1_000_000
    losses = [float(number) for number in re.findall(r"(?:train|val)_loss:? ?(-?[\d.]+)", run.stdout)]
    assert len(losses) == 2
    assert all(map(math.isfinite, losses))
