"""The driver's side of heartbeats: a watchdog that kills actors which hang, for Ray to restart them.

A silent actor, or one whose engine hangs in a tick, is killed, and its units are made again. One that hangs repeatedly
ends the build.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self
from uuid import uuid4

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from dentgen.pipeline.actors.heartbeat import BEAT_S, Beat, HeartbeatMonitor

_LOG = logging.getLogger(__name__)
_MAX_KILLS: Final = 2
#: A tick may take this many times the longest one so far before it counts as hanging.
_PATIENCE: Final = 10
#: The first tick may compile the UNet.
_FIRST_TICK_S: Final = 600
_START_S: Final = 1800


@dataclass(frozen=True, slots=True)
class ActorReport:
    """Last heartbeat of an actor, and seconds until it could take units (None: it never could)."""

    beat: Beat
    startup_seconds: float | None

    def __str__(self) -> str:
        """One line."""
        started = "not finished" if self.startup_seconds is None else f"{self.startup_seconds:.1f} s"
        return f"actor on {self.beat.place}: start-up {started}, engine busy {self.beat.busy_share:.0%} of the time"


class Watchdog:
    """The driver's side: listens while a build runs and kills what hangs; a context manager.

    Attributes:
        monitor: Name of the actor that receives heartbeats.
        failure: Why the build was ended, "" if it was not.
        last: The last heartbeat of every process, by its place.
        startup: Seconds from the start of the watchdog until the process could take units.
        alive: Actors that send heartbeats.
        on_look: Called about once a second, in the watchdog's thread.
    """

    def __init__(self, stall_seconds: float) -> None:
        """Configure the watchdog; it starts on entering the context."""
        self.monitor = f"dentgen-heartbeats-{uuid4().hex}"
        self.failure = ""
        self.last: dict[str, Beat] = {}
        self.startup: dict[str, float] = {}
        self.alive = 0
        self.on_look: Callable[[], object] = lambda: None
        self._monitor: Any = None
        self._began = time.monotonic()
        self._stall = stall_seconds
        self._hangs: Counter[str] = Counter()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="dentgen-watchdog", daemon=True)

    def __enter__(self) -> Self:
        """Start the monitor and listen."""
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        options = {"name": self.monitor, "max_restarts": -1, "scheduling_strategy": here}
        self._monitor = HeartbeatMonitor.options(**options).remote()  # type: ignore[attr-defined]  # of the decorator
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening."""
        self._over.set()
        self._thread.join()

    def _listen(self) -> None:
        while not self._over.wait(BEAT_S):
            self.on_look()
            found = self._ask(self._monitor.read.remote())
            if found is None:
                continue
            self.alive = len(found)
            for actor, (silence, beat) in found.items():
                self._note(beat)
                complaint = stalled(silence, beat, self._stall)
                if complaint:
                    self._kill(actor, complaint, hangs=silence <= self._stall)

    def _ask(self, asked: Any) -> Any:
        """The monitor's answer, None if there is none."""
        try:
            return ray.get(asked, timeout=self._stall)
        except ray.exceptions.RayError as error:
            _LOG.warning("heartbeat monitor unreachable, retrying: %s", error)
            return None

    def _note(self, beat: Beat) -> None:
        self.last[beat.place] = beat
        if beat.up_seconds:
            self.startup.setdefault(beat.place, time.monotonic() - self._began - beat.up_seconds)

    def _kill(self, actor: str, complaint: str, *, hangs: bool) -> None:
        """Kill a stalled actor; only hangs count towards the limit, because silence may just be a lost node."""
        handle = self._ask(self._monitor.handle.remote(actor))
        if handle is None:  # it signed off meanwhile, or the next look kills it
            return
        self._hangs[actor] += hangs
        last_time = self._hangs[actor] > _MAX_KILLS
        _LOG.error("%s; killing it, %s", complaint, "not restarting" if last_time else "restarting")
        if last_time:
            self.failure = f"{complaint}, after {_MAX_KILLS} restarts for the same reason"
        self._monitor.forget.remote(actor)
        ray.kill(handle, no_restart=last_time)


def stalled(silence: float, beat: Beat, stall_seconds: float) -> str:
    """What is wrong with an actor, "" if nothing.

    Args:
        silence: Seconds since its last heartbeat.
        beat: That heartbeat.
        stall_seconds: How long silence, or a tick, is tolerated at least.
    """
    if silence > stall_seconds:
        return f"the actor on {beat.place} has been silent for {silence:.0f} s"
    if not beat.up_seconds and beat.starting_seconds > _START_S:
        return f"the actor on {beat.place} has been loading its models for {beat.starting_seconds:.0f} s"
    usual = _PATIENCE * beat.longest_tick if beat.ticks else _FIRST_TICK_S
    if beat.tick_seconds > max(stall_seconds, usual):
        return f"the engine on {beat.place} hangs: no tick for {beat.tick_seconds:.0f} s"
    return ""
