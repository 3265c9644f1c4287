"""Timing of contestants side by side; a contestant is an iterator that does a piece of work and yields its kind.

On a CPU contestants alternate piece by piece, the one with the least time so far going next, so that a busy machine
slows all of them alike; with one thread the clock is process time, which excludes other processes. On a GPU a piece
only launches work, so contestants run one after the other and CUDA events delimit the pieces.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import torch

#: Does one piece of work per step and yields its kind.
Pieces = Iterator[str]


@dataclass(slots=True)
class Lap:
    """One run of a contestant.

    Attributes:
        total: Seconds of the contestant's own work.
        kinds: Seconds by kind of work.
    """

    total: float = 0.0
    kinds: dict[str, float] = field(default_factory=dict)

    def add(self, kind: str, seconds: float) -> None:
        """Add a piece of work."""
        self.kinds[kind] = self.kinds.get(kind, 0.0) + seconds


def run_side_by_side(contestants: Mapping[str, Pieces], device: torch.device) -> dict[str, Lap]:
    """Run every contestant to completion and time it."""
    if device.type == "cuda":
        return {name: _on_gpu(pieces, device) for name, pieces in contestants.items()}
    running, laps = dict(contestants), {name: Lap() for name in contestants}
    now = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    while running:
        name = min(running, key=lambda other: laps[other].total)
        began = now()
        kind = next(running[name], None)
        seconds = now() - began
        laps[name].total += seconds
        if kind is None:
            del running[name]
        else:
            laps[name].add(kind, seconds)
    return laps


def run_to_end(pieces: Pieces) -> None:
    """Run a contestant to completion without timing it."""
    for _ in pieces:
        pass


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """Time a call, including the work that it launches on the device."""
    wait_for(device)
    began = time.perf_counter()
    work()
    wait_for(device)
    return time.perf_counter() - began


def wait_for(device: torch.device) -> None:
    """Wait until the device has finished all launched work; a no-op on a CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _on_gpu(pieces: Pieces, device: torch.device) -> Lap:
    marks: list[tuple[str, torch.cuda.Event]] = []

    def mark(kind: str) -> None:
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(device))
        marks.append((kind, event))

    def run() -> None:
        mark("begin")
        for kind in pieces:
            mark(kind)

    lap = Lap(seconds_of(run, device))
    for (_, before), (kind, after) in pairwise(marks):
        lap.add(kind, before.elapsed_time(after) / 1000)
    return lap
