"""HeartbeatMonitor: every actor says each second that it lives and what its engine does; a watch in the driver listens.

An actor that falls silent, or whose engine hangs in a tick, is killed; Ray starts it again and makes its units again.
One that hangs again and again ends the build. What an actor begins and does not end is counted here too, because this
outlives it. Refuses to know units.
"""

from __future__ import annotations

import logging
import os
import platform
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

_LOG = logging.getLogger(__name__)
_BEAT_SECONDS: Final = 1.0
_MOST_KILLS: Final = 2
#: A tick may take so many times the longest one so far before it counts as hanging.
_PATIENCE: Final = 10
#: The first tick may compile the UNet.
_FIRST_TICK_SECONDS: Final = 600
_START_SECONDS: Final = 1800
_ASK_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Beat:
    """What an actor says of itself.

    Attributes:
        place: Host and process.
        starting_seconds: Since it began to load its models, until they stood.
        up_seconds: Since then; 0 while it starts.
        busy_seconds: Time that its engine spent in ticks.
        ticks: Ticks so far.
        longest_tick: The longest of them, seconds.
        tick_seconds: How long the tick in progress has lasted; 0 between ticks.
    """

    place: str
    starting_seconds: float = 0.0
    up_seconds: float = 0.0
    busy_seconds: float = 0.0
    ticks: int = 0
    longest_tick: float = 0.0
    tick_seconds: float = 0.0

    @property
    def busy_share(self) -> float:
        """Share of its time that the engine was at work."""
        return self.busy_seconds / self.up_seconds if self.up_seconds else 0.0


@dataclass(frozen=True, slots=True)
class ActorReport:
    """What an actor did: its last beat, and seconds until it could take units (None: it never could)."""

    beat: Beat
    startup_seconds: float | None

    def __str__(self) -> str:
        """One line."""
        started = "not finished" if self.startup_seconds is None else f"{self.startup_seconds:.1f} s"
        return f"actor on {self.beat.place}: start-up {started}, engine busy {self.beat.busy_share:.0%} of the time"


@ray.remote(num_cpus=0)
class HeartbeatMonitor:
    """Keeps the last beat of every actor and when it came, by the clock of this process alone."""

    def __init__(self) -> None:
        """No actor is known."""
        self._beats: dict[str, tuple[float, Beat, Any]] = {}
        self._begun: defaultdict[str, list[str]] = defaultdict(list)

    def beat(self, actor: str, beat: Beat, handle: Any) -> None:
        """Take a beat."""
        self._beats[actor] = (time.monotonic(), beat, handle)

    def read(self) -> dict[str, tuple[float, Beat, Any]]:
        """Seconds since the last beat, the beat, and a handle to kill the actor by."""
        now = time.monotonic()
        return {actor: (now - came, beat, handle) for actor, (came, beat, handle) in self._beats.items()}

    def forget(self, actor: str) -> None:
        """Expect nothing of an actor until it beats again."""
        self._beats.pop(actor, None)

    def begin(self, work: str, node: str) -> None:
        """Remember where work was begun."""
        self._begun[work].append(node)

    def end(self, work: str) -> None:
        """Forget work that ended, well or not: who did it lived."""
        self._begun.pop(work, None)

    def crashes(self, work: str) -> int:
        """How often work was begun and never ended; not counted is what was lost with its whole node."""
        alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}  # type: ignore[no-untyped-call]
        return sum(node in alive for node in self._begun.get(work, ()))


class Heartbeat:
    """The actor's side: a thread that beats while the process lives."""

    def __init__(self, pulse: Any) -> None:
        """Start beating, before anything is loaded."""
        self._pulse, self._over, self._began = pulse, threading.Event(), time.monotonic()
        context = ray.get_runtime_context()
        self._actor, self._handle = str(context.get_actor_id()), context.current_actor
        self._place = f"{platform.node()} process {os.getpid()}"
        self._ready: float | None = None
        self._read: Callable[[Beat], Beat] = lambda beat: beat
        threading.Thread(target=self._beat_on, name="dentgen-heart", daemon=True).start()

    def ready(self, read: Callable[[Beat], Beat]) -> None:
        """The models stand; from now on ``read`` adds what the engine says."""
        self._ready, self._read = time.monotonic(), read

    def stop(self) -> None:
        """Say goodbye: silence from now on is no sign of trouble."""
        self._over.set()
        self._pulse.forget.remote(self._actor)

    def crashes(self, work: str) -> int:
        """How many processes died over a piece of work."""
        return self._ask(self._pulse.crashes.remote(work)) or 0

    @contextmanager
    def at_work(self, work: str) -> Iterator[None]:
        """Work that counts as a death if it never ends; an exception is an end."""
        self._ask(self._pulse.begin.remote(work, ray.get_runtime_context().get_node_id()))
        try:
            yield
        finally:
            self._pulse.end.remote(work)

    def _ask(self, asked: Any) -> Any:
        """The answer, None if there is none: a pulse that is lost must not end the work."""
        try:
            return ray.get(asked, timeout=_ASK_SECONDS)
        except ray.exceptions.RayError as error:
            _LOG.warning("what died over this work is not known: %s", error)
            return None

    def _beat_on(self) -> None:
        while not self._over.is_set():
            now, ready = time.monotonic(), self._ready
            beat = Beat(self._place, (ready or now) - self._began, now - ready if ready is not None else 0.0)
            self._pulse.beat.remote(self._actor, self._read(beat), self._handle)
            self._over.wait(_BEAT_SECONDS)


class Watchdog:
    """The driver's side: listens while a build runs, kills what hangs; use as a context manager.

    Attributes:
        failure: Why the build was ended, "" if it was not.
        last: The last beat of every process that was heard, by its place.
        startup: Seconds from the beginning of the watch until the process could take units.
    """

    def __init__(self, stall_seconds: float) -> None:
        """Nothing runs yet."""
        self.pulse: Any = None
        self.failure = ""
        self.last: dict[str, Beat] = {}
        self.startup: dict[str, float] = {}
        self._began = time.monotonic()
        self._stall = stall_seconds
        self._hangs: Counter[str] = Counter()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="dentgen-watch", daemon=True)

    def __enter__(self) -> Self:
        """Listen."""
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        self.pulse = HeartbeatMonitor.options(scheduling_strategy=here).remote()  # type: ignore[attr-defined]  # of the decorator
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening."""
        self._over.set()
        self._thread.join()

    def _listen(self) -> None:
        while not self._over.wait(_BEAT_SECONDS):
            try:
                found = ray.get(self.pulse.read.remote(), timeout=self._stall)
            except ray.exceptions.RayError as error:
                _LOG.warning("the watch over the actors is blind for the moment: %s", error)
                continue
            for actor, (silence, beat, handle) in found.items():
                self._note(beat)
                complaint = stalled(silence, beat, self._stall)
                if complaint:
                    self._kill(actor, complaint, handle, hangs=silence <= self._stall)

    def _note(self, beat: Beat) -> None:
        self.last[beat.place] = beat
        if beat.up_seconds:
            self.startup.setdefault(beat.place, time.monotonic() - self._began - beat.up_seconds)

    def _kill(self, actor: str, complaint: str, handle: Any, *, hangs: bool) -> None:
        """A silent actor may be one whose node is lost, which says nothing of the work; one that hangs again does."""
        self._hangs[actor] += hangs
        last_time = self._hangs[actor] > _MOST_KILLS
        _LOG.error("%s; it is killed and %s", complaint, "not started again" if last_time else "starts again")
        if last_time:
            self.failure = (
                f"{complaint}, after it was killed {_MOST_KILLS} times for the like; nothing committed is lost"
            )
        self.pulse.forget.remote(actor)
        ray.kill(handle, no_restart=last_time)


def stalled(silence: float, beat: Beat, stall_seconds: float) -> str:
    """What is wrong with an actor, "" if nothing is.

    Args:
        silence: Seconds since its last beat.
        beat: That beat.
        stall_seconds: How long silence, or a tick, may last at least.
    """
    if silence > stall_seconds:
        return f"the actor on {beat.place} has been silent for {silence:.0f} s"
    if not beat.up_seconds and beat.starting_seconds > _START_SECONDS:
        return f"the actor on {beat.place} has been loading its models for {beat.starting_seconds:.0f} s"
    usual = _PATIENCE * beat.longest_tick if beat.ticks else _FIRST_TICK_SECONDS
    if beat.tick_seconds > max(stall_seconds, usual):
        return f"the engine on {beat.place} hangs: no tick for {beat.tick_seconds:.0f} s"
    return ""
