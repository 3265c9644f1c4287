"""Builds whose actors stall or whose engines die: they recover, or end with the reason."""

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

from dentgen.pipeline.run import build
from tests.conftest import ROOT, shard_bytes, small_spec

#: Spec and process titles of both ways to hand out units.
WAYS: dict[str, tuple[object, str]] = {
    "Ray Data": (1, "MapWorker(MapBatches(UnitMaker))"),
    "a pool": ({"min": 1, "max": 1}, "ray::PoolActor"),
}


def freeze_a_working_actor(actor: str, frozen: list[int]) -> None:
    while not frozen:
        time.sleep(0.05)
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                title = " ".join(process.cmdline())
                if actor in title and "__init__" not in title:
                    os.kill(process.pid, signal.SIGSTOP)
                    frozen.append(process.pid)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_a_frozen_actor_is_replaced(
    way: str, small_source: Path, tmp_path: Path, ray_local: None, caplog: pytest.LogCaptureFixture
) -> None:
    """SIGSTOP: the process and its connections stay, and nothing comes from it any more."""
    (actors, title), frozen = WAYS[way], list[int]()
    build(small_spec(small_source, tmp_path / "whole"), use_ray=False)
    threading.Thread(target=freeze_a_working_actor, args=(title, frozen), daemon=True).start()
    pipeline = {"stall_seconds": 6, "actors": actors}
    build(small_spec(small_source, tmp_path / "out", pipeline=pipeline, engine={"slots": 4, "fill": "unit"}))
    assert frozen
    assert any(f"process {frozen[0]} " in record.getMessage() for record in caplog.records)
    assert shard_bytes(tmp_path / "out") == shard_bytes(tmp_path / "whole")


TICK = "                outcomes = self._engine.tick()\n"
HANGS, DIES = "while True: time.sleep(1)", "raise MemoryError('planted')"
#: Whether the fault happens every time (then units share the engine, otherwise they take turns), the fault, the exit
#: code, and facts that the log must hold.
FAULTS: dict[str, tuple[bool, str, int, str]] = {
    "hangs once": (False, HANGS, 0, r"engine on .* process \d+ hangs"),
    "hangs for ever": (True, HANGS, 1, r"error: .*engine on .* process \d+ hangs.* 2 restarts"),
    "dies once": (False, DIES, 0, r"MemoryError\('planted'\)"),
    "dies for ever": (True, DIES, 1, r"error: .*unit 00000\d: .*MemoryError\('planted'\)"),
}


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_build_recovers_or_ends_with_the_reason(fault: str, way: str, small_source: Path, tmp_path: Path) -> None:
    """The fault is planted into the engine thread of a copy of the package, at its third tick."""
    every_time, what, code, facts = FAULTS[fault]
    for name in ("dentgen", "jobs"):
        shutil.copytree(ROOT / name, tmp_path / "copy" / name, ignore=shutil.ignore_patterns("__pycache__"))
    driver = tmp_path / "copy" / "dentgen" / "diffusion" / "driver.py"
    marker = tmp_path / "happened"
    condition = f"self.ticks == 2 and ({every_time} or not os.path.exists({str(marker)!r}))"
    planted = f"                if {condition}:\n                    open({str(marker)!r}, 'w').close()\n"
    text = driver.read_text()
    assert text.count(TICK) == 1
    text = text.replace(TICK, f"{planted}                    {what}\n{TICK}")
    driver.write_text(text.replace("import queue\n", "import os\nimport queue\n"))
    out, spec = tmp_path / "out", tmp_path / "spec.yaml"
    engine: dict[str, object] = {"slots": 4, "fill": "continuous" if every_time else "unit"}
    pipeline = {"stall_seconds": 6, "actors": WAYS[way][0]}
    sections = small_spec(small_source, out, pipeline=pipeline, engine=engine).model_dump(mode="json")
    spec.write_text(yaml.safe_dump(sections))
    run = subprocess.run(
        [sys.executable, "-m", "dentgen", "generate", str(spec)], cwd=tmp_path / "copy", capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "copy"), "RAY_DEDUP_LOGS": "0"}, timeout=400, check=False,
    )  # fmt: skip
    assert marker.exists()
    assert run.returncode == code, run.stderr[-3000:]
    assert re.search(facts, run.stdout + run.stderr), run.stderr[-3000:]
    if code == 0:
        build(small_spec(small_source, tmp_path / "whole"), use_ray=False)
        assert shard_bytes(out) == shard_bytes(tmp_path / "whole")
