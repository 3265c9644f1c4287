"""Actors that hang: what counts as hanging, and that a build recovers from one, or ends and says why."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
import yaml

from dentgen.pipeline.actors.heartbeat import Beat, stalled
from dentgen.pipeline.run import build
from tests.conftest import ROOT, shard_bytes, small_spec

BEAT = Beat("here process 1", up_seconds=50, busy_seconds=40, ticks=100, longest_tick=1.0)


def test_what_counts_as_hanging() -> None:
    assert stalled(1, BEAT, 30) == ""
    assert "silent for 31 s" in stalled(31, BEAT, 30)
    hanging = Beat("here process 1", ticks=3, longest_tick=1.0, tick_seconds=31)
    assert "no tick for 31 s" in stalled(1, hanging, 30)
    slow = Beat("here process 1", ticks=3, longest_tick=20.0, tick_seconds=150)
    assert stalled(1, slow, 30) == "", "ticks of 20 s are slow, 150 s may still be one"
    first = Beat("here process 1", ticks=0, tick_seconds=300)
    assert stalled(1, first, 30) == "", "the first tick may compile"
    assert stalled(1, Beat("here process 1", tick_seconds=601), 30)
    assert stalled(1, Beat("here process 1", starting_seconds=1700), 30) == ""
    assert "loading its models" in stalled(1, Beat("here process 1", starting_seconds=1801), 30)


def freeze_a_working_actor(frozen: list[int]) -> None:
    while not frozen:
        time.sleep(0.05)
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                title = " ".join(process.cmdline())
                if "MapWorker(MapBatches(UnitMaker))" in title and "__init__" not in title:
                    os.kill(process.pid, signal.SIGSTOP)
                    frozen.append(process.pid)


@pytest.mark.ray
@pytest.mark.slow
def test_a_frozen_actor_is_replaced(
    small_source: Path, tmp_path: Path, ray_local: None, caplog: pytest.LogCaptureFixture
) -> None:
    """SIGSTOP: the process lives, its connections stand, and nothing ever comes from it again."""
    build(small_spec(small_source, tmp_path / "whole"), use_ray=False)
    frozen: list[int] = []
    threading.Thread(target=freeze_a_working_actor, args=(frozen,), daemon=True).start()
    build(small_spec(small_source, tmp_path / "out", pipeline={"stall_seconds": 6}))
    assert frozen
    assert f"process {frozen[0]} has been silent for" in caplog.text
    assert shard_bytes(tmp_path / "out") == shard_bytes(tmp_path / "whole")


TICK = "                finished = self._engine.tick()\n"
FAULTS = {
    "hangs once": ("once", "while True: time.sleep(1)", 0, r"the engine on .* hangs: no tick .* starts again"),
    "hangs for ever": ("ever", "while True: time.sleep(1)", 1, r"error: the engine on .* after it was killed 2 times"),
    "dies once": (
        "once",
        "raise MemoryError('planted')",
        0,
        r"the engine died: MemoryError\('planted'\); a new engine",
    ),
    "dies for ever": ("ever", "raise MemoryError('planted')", 1, r"error: unit .* the engine died: MemoryError"),
}


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_build_recovers_or_says_why_it_ended(fault: str, small_source: Path, tmp_path: Path) -> None:
    """The fault is planted into the engine thread of a copy of the package, after a few ticks."""
    how_often, what, code, said = FAULTS[fault]
    for name in ("dentgen", "jobs"):
        shutil.copytree(ROOT / name, tmp_path / "copy" / name, ignore=shutil.ignore_patterns("__pycache__"))
    driver = tmp_path / "copy" / "dentgen" / "diffusion" / "driver.py"
    marker = tmp_path / "happened"
    condition = f"self.ticks == 2 and ({how_often == 'ever'} or not os.path.exists({str(marker)!r}))"
    planted = f"                if {condition}:\n                    open({str(marker)!r}, 'w').close(); {what}\n"
    text = driver.read_text()
    assert text.count(TICK) == 1
    driver.write_text(text.replace(TICK, planted.replace("; while", "\n                    while") + TICK).replace(
        "import queue\n", "import os\nimport queue\n"))  # fmt: skip
    out, spec = tmp_path / "out", tmp_path / "spec.yaml"
    sections = small_spec(small_source, out, pipeline={"stall_seconds": 6}).model_dump(mode="json")
    spec.write_text(yaml.safe_dump(sections))
    began = time.monotonic()
    run = subprocess.run(
        [sys.executable, "-m", "dentgen", "generate", str(spec)], cwd=tmp_path / "copy", capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "copy"), "RAY_DEDUP_LOGS": "0"}, timeout=300, check=False,
    )  # fmt: skip
    print(f"{fault}: {time.monotonic() - began:.0f} s")  # noqa: T201 - shown by pytest -s, and where the test fails
    assert marker.exists()
    assert run.returncode == code, run.stderr[-3000:]
    assert re.search(said, run.stdout + run.stderr), run.stderr[-3000:]
    if code == 0:
        build(small_spec(small_source, tmp_path / "whole"), use_ray=False)
        assert shard_bytes(out) == shard_bytes(tmp_path / "whole")
