"""Benchmark of the quality gate: what judging every picture costs a build, as ratios.

Builds without and with the gate generate the same samples through Ray in turn, for several rounds.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dentgen.benchmark.build import build_rate, enlarge_source, with_output
from dentgen.errors import SpecError
from dentgen.pipeline.actors.workers import build_session
from dentgen.pipeline.run import build
from dentgen.spec.build import BuildSpec
from dentgen.spec.quality import GateSpec


def benchmark_gate(
    spec: BuildSpec,
    work: str,
    rounds: int,
    *,
    log: Callable[[str], None],
    progress: Callable[[int, int], None],
) -> dict[str, Any]:
    """Measure both builds.

    Args:
        spec: A build from WebDataset tars with one actor; its output is not used, and its gate, if it has one, is the
            one that is measured. Pictures that fail are recorded, so that both builds write the same.
        work: Local folder for intermediate data; emptied first.
        rounds: Builds of each kind.
        log: Called with a line after every round.
        progress: Called with finished and planned rounds.

    Returns:
        ``ratios`` (medians over rounds): ``seconds_gate_over_plain`` per sample in steady state, ``busy_plain`` and
        ``busy_gate``, the engine's share of the actor's time; ``milliseconds_per_picture`` that the gate adds;
        ``spread`` (lowest and highest); ``rounds``.

    Raises:
        SpecError: If a build is too short to measure.
    """
    gate = (spec.quality.gate or GateSpec()).model_copy(update={"on_failure": "record", "retry": 0})
    gates = {"plain": None, "gate": gate}
    spec = enlarge_source(spec, Path(work))
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in gates}
    progress(0, rounds)
    with build_session(spec):
        for number in range(rounds):
            for name, each in gates.items():
                quality = spec.quality.model_copy(update={"gate": each})
                own = with_output(spec.model_copy(update={"quality": quality}), Path(work) / f"{name}-{number}")
                found[name].append(_seconds_and_busy(own))
            log(
                f"round {number + 1} of {rounds}: "
                + ", ".join(f"{n} {1e3 * r[-1][0]:.0f} ms" for n, r in found.items())
            )
            progress(number + 1, rounds)
    return _figures(found["plain"], found["gate"], rounds)


def _seconds_and_busy(spec: BuildSpec) -> tuple[float, float]:
    """Seconds per sample in steady state, and the engine's share of the actor's time."""
    outcome = build(spec)
    if not outcome.actors:
        raise SpecError("the build ended before its actor's first heartbeat", advice="use more records or variants")
    return 1 / build_rate(spec), outcome.actors[0].beat.busy_share


def _figures(plain: list[tuple[float, float]], gate: list[tuple[float, float]], rounds: int) -> dict[str, Any]:
    values = {
        "seconds_gate_over_plain": [slow / fast for (fast, _), (slow, _) in zip(plain, gate, strict=True)],
        "busy_plain": [busy for _, busy in plain],
        "busy_gate": [busy for _, busy in gate],
        "milliseconds_per_picture": [1e3 * (slow - fast) for (fast, _), (slow, _) in zip(plain, gate, strict=True)],
    }
    return {
        "ratios": {name: round(statistics.median(found), 3) for name, found in values.items()},
        "spread": {name: [round(min(found), 3), round(max(found), 3)] for name, found in values.items()},
        "rounds": rounds,
    }
