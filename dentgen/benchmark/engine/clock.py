"""Time of contestants that run side by side. A contestant is an iterator that does a piece of work and names its kind.

On a CPU contestants take turns piece by piece, whoever used least time going next, so that a busy machine slows all of
them alike; with one thread the clock is the process's own time, which stands still while others have the core. On a
GPU pieces only launch work, so contestants run one after the other and events mark the pieces. Refuses to know what the
work is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import torch

#: Does a piece of work at every step and yields what kind it was.
Pieces = Iterator[str]


@dataclass(slots=True)
class Lap:
    """One run of a contestant.

    Attributes:
        total: Seconds from its beginning to its end, of its own time.
        kinds: Seconds by kind of work.
    """

    total: float = 0.0
    kinds: dict[str, float] = field(default_factory=dict)

    def add(self, kind: str, seconds: float) -> None:
        """Take note of a piece."""
        self.kinds[kind] = self.kinds.get(kind, 0.0) + seconds


def run_side_by_side(contestants: Mapping[str, Pieces], device: torch.device) -> dict[str, Lap]:
    """Run every contestant to its end and return how long each took."""
    if device.type == "cuda":
        return {name: _on_gpu(pieces, device) for name, pieces in contestants.items()}
    racing, laps = dict(contestants), {name: Lap() for name in contestants}
    now = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    while racing:
        name = min(racing, key=lambda other: laps[other].total)
        began = now()
        kind = next(racing[name], None)
        took = now() - began
        laps[name].total += took
        if kind is None:
            del racing[name]
        else:
            laps[name].add(kind, took)
    return laps


def run_out(pieces: Pieces) -> None:
    """Run a contestant to its end without looking at the clock."""
    for _ in pieces:
        pass


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """Seconds that work takes, the device's included."""
    wait_for(device)
    began = time.perf_counter()
    work()
    wait_for(device)
    return time.perf_counter() - began


def wait_for(device: torch.device) -> None:
    """Wait until the device has done what it was told."""
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
