"""Runs phases one after the other within a deadline; whatever ends early, what was measured is on disk."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from dentgen.benchmark.gpu.phases import (
    Phase,
    Scale,
    divided,
    engine_phases,
    precision_phase,
    rendering,
    training_phase,
)
from dentgen.models.pieces import write_pieces

#: After a signal: for a training to save its checkpoint.
_SECONDS_TO_END: Final = 15.0
#: Kept of the whole time for packing, and of a training's for starting and exporting.
_PACKING_SECONDS, _OVERHEAD_SECONDS = 15.0, 12.0
#: Left to the renderer when the engine is measured.
_RENDERING_SECONDS: Final = 45.0


@dataclass(slots=True)
class Report:
    """Figures of all phases so far, in a file that is replaced after each.

    Attributes:
        file: The JSON file.
        phases: Per phase: exit code, seconds, and what it measured.
    """

    file: Path
    phases: dict[str, Any] = field(default_factory=dict)

    def add(self, name: str, result: dict[str, Any]) -> None:
        """Add a phase."""
        self.phases[name] = result
        self.file.write_text(json.dumps({"phases": self.phases}, indent=1) + "\n")


def run_gpu_minutes(
    scale: Scale, specs: Path, out: Path, work: Path, seconds: float, log: Callable[[str], None]
) -> bool:
    """Measure the engine and training, then train the miniature for the rest of the time.

    Args:
        scale: Size of everything.
        specs: Folder of the miniature's training specs.
        out: Folder for ``figures.json``, every phase's log and the miniature in pieces.
        work: Folder for intermediate data.
        seconds: Time for everything.
        log: Called with a line per phase.

    Returns:
        Whether all phases ended well within their time.
    """
    deadline = time.monotonic() + seconds - _PACKING_SECONDS
    out.mkdir(parents=True, exist_ok=True)
    work.mkdir(parents=True, exist_ok=True)
    report = Report(out / "figures.json")
    with _Background(rendering(scale, work), out) as phantoms:
        for phase in engine_phases(scale):
            report.add(phase.name, run_phase(phase, out, deadline, log))
        report.add("phantoms", phantoms.wait(min(deadline, time.monotonic() + scale.patience * _RENDERING_SECONDS)))
    measured = run_phase(precision_phase(scale, specs, work), out, deadline, log)
    report.add("training-steps", measured)
    _train(scale, specs, out, work, deadline, report, log)
    write_pieces(work / "miniature", out)
    return all(phase["code"] == 0 for phase in report.phases.values())


def run_phase(phase: Phase, out: Path, deadline: float, log: Callable[[str], None]) -> dict[str, Any]:
    """Run one phase; returns its exit code (None: out of time), its seconds, and its figures."""
    figures = out / f"{phase.name}.json"
    with _Background(phase, out, figures if phase.figures else None) as process:
        result = process.wait(min(deadline, time.monotonic() + phase.seconds))
    if figures.exists():
        with suppress(json.JSONDecodeError):  # cut off by the limit
            result["figures"] = json.loads(figures.read_text())
    log(f"{phase.name}: exit code {result['code']} after {result['seconds']:.0f} s")
    return result


class _Background:
    """A phase as a process of its own, which is ended with the block."""

    def __init__(self, phase: Phase, out: Path, figures: Path | None = None) -> None:
        arguments = [*phase.arguments, *(("--json", str(figures)) if figures else ())]
        self._log = (out / f"{phase.name}.log").open("wb")
        self._began = time.monotonic()
        self._process = subprocess.Popen(  # noqa: S603 - dentgen itself, without a shell
            [sys.executable, "-m", "dentgen", *arguments], stdout=self._log, stderr=subprocess.STDOUT
        )

    def __enter__(self) -> _Background:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        self._log.close()

    def wait(self, deadline: float) -> dict[str, Any]:
        """Wait for the end of the process, at most until the deadline."""
        code: int | None = None
        with suppress(subprocess.TimeoutExpired):
            code = self._process.wait(max(0.0, deadline - time.monotonic()))
        self._end()
        return {"code": code, "seconds": round(time.monotonic() - self._began, 1)}

    def _end(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(_SECONDS_TO_END)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


def _train(
    scale: Scale, specs: Path, out: Path, work: Path, deadline: float, report: Report, log: Callable[[str], None]
) -> None:
    """Train the miniature's parts, each for its share of what is left."""
    rates = report.phases["training-steps"].get("figures", {}).get("seconds_per_step", {})
    left = max(0.0, deadline - time.monotonic())
    for name, seconds in divided(left).items():
        per_step = rates.get(name, {}).get(scale.dtypes[0])
        if per_step is None:
            report.add(f"train-{name}", {"code": None, "seconds": 0.0, "skipped": "its steps were not measured"})
            continue
        steps = min(scale.most_steps, max(1, int((seconds - _OVERHEAD_SECONDS) / per_step)))
        spec = specs / f"{name}.yaml"
        phase = training_phase(scale, spec, work, steps=steps, seconds=1.3 * seconds + _OVERHEAD_SECONDS)
        report.add(phase.name, {**run_phase(phase, out, deadline, log), "steps": steps})
