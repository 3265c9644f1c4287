"""Heartbeats: actors report liveness and progress; a watchdog in the driver restarts stalled ones.

A silent actor, or one whose engine hangs in a tick, is killed; Ray restarts it and retries its units. One that hangs
repeatedly ends the build. The monitor also counts work that was started and never finished, because it outlives actors.
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
_BEAT_S: Final = 1.0
_MAX_KILLS: Final = 2
#: A tick may take this many times the longest one so far before it counts as hanging.
_PATIENCE: Final = 10
#: The first tick may compile the UNet.
_FIRST_TICK_S: Final = 600
_START_S: Final = 1800
_ASK_TIMEOUT_S: Final = 60


@dataclass(frozen=True, slots=True)
class Beat:
    """One heartbeat of an actor.

    Attributes:
        place: Host and process.
        starting_seconds: Time spent loading the models.
        up_seconds: Time since they were loaded; 0 before.
        busy_seconds: Time that the engine spent in ticks.
        ticks: Ticks so far.
        longest_tick: The longest of them, seconds.
        tick_seconds: Duration of the tick in progress; 0 between ticks.
        slots_in_use: Row slots of the engine that are occupied.
    """

    place: str
    starting_seconds: float = 0.0
    up_seconds: float = 0.0
    busy_seconds: float = 0.0
    ticks: int = 0
    longest_tick: float = 0.0
    tick_seconds: float = 0.0
    slots_in_use: int = 0

    @property
    def busy_share(self) -> float:
        """Share of its time that the engine was busy."""
        return self.busy_seconds / self.up_seconds if self.up_seconds else 0.0


@dataclass(frozen=True, slots=True)
class ActorReport:
    """Last heartbeat of an actor, and seconds until it could take units (None: it never could)."""

    beat: Beat
    startup_seconds: float | None

    def __str__(self) -> str:
        """One line."""
        started = "not finished" if self.startup_seconds is None else f"{self.startup_seconds:.1f} s"
        return f"actor on {self.beat.place}: start-up {started}, engine busy {self.beat.busy_share:.0%} of the time"


@ray.remote(num_cpus=0)
class HeartbeatMonitor:
    """Keeps every actor's last heartbeat and its arrival by this process's own clock."""

    def __init__(self) -> None:
        """Start without any actor."""
        self._beats: dict[str, tuple[float, Beat, Any]] = {}
        self._begun: defaultdict[str, list[str]] = defaultdict(list)
        self._dismissed: set[str] = set()

    def beat(self, actor: str, beat: Beat, handle: Any) -> None:
        """Receive a heartbeat; one of an actor that was dismissed was on its way."""
        if actor in self._dismissed:
            return
        self._beats[actor] = (time.monotonic(), beat, handle)

    def read(self) -> dict[str, tuple[float, Beat]]:
        """Seconds since the last heartbeat, and the heartbeat, by actor."""
        now = time.monotonic()
        return {actor: (now - came, beat) for actor, (came, beat, _) in self._beats.items()}

    def handle(self, actor: str) -> Any:
        """An actor's handle, None if it is not watched; all of them would take far longer to send than what they do."""
        return self._beats[actor][2] if actor in self._beats else None

    def forget(self, actor: str) -> None:
        """Stop watching an actor until its next heartbeat."""
        self._beats.pop(actor, None)

    def dismiss(self, actor: str) -> None:
        """Stop watching an actor for good: it ends, or was ended."""
        self._dismissed.add(actor)
        self._beats.pop(actor, None)

    def begin(self, work: str, node: str) -> int:
        """Record that a node started a piece of work; returns how often that was done without an end, this time too."""
        self._begun[work].append(node)
        return len(self._begun[work])

    def end(self, work: str) -> None:
        """Record that work ended, with or without an error: its process survived."""
        self._begun.pop(work, None)

    def crashes(self, work: str) -> int:
        """How often work was started and never ended, apart from what was lost with its whole node."""
        alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}  # type: ignore[no-untyped-call]
        return sum(node in alive for node in self._begun.get(work, ()))


def record_start(monitor: Any, work: str, node: str) -> int | None:
    """Record that a node started a piece of work.

    Returns:
        How often it was started without an end, this time too; None if the monitor does not answer.
    """
    started: int | None = _answer(monitor.begin.remote(work, node))
    return started


def _answer(asked: Any) -> Any:
    """The monitor's answer, None if there is none: a lost monitor must not fail the work."""
    try:
        return ray.get(asked, timeout=_ASK_TIMEOUT_S)
    except ray.exceptions.RayError as error:
        _LOG.warning("cannot reach the heartbeat monitor, assuming no crash: %s", error)
        return None


class Heartbeat:
    """The actor's side: a thread that sends heartbeats while the process lives."""

    def __init__(self, monitor: Any, name: str = "") -> None:
        """Start the thread, before anything is loaded.

        Args:
            monitor: Receives the heartbeats.
            name: Of the actor, the same where Ray restarts it; "" for its id.
        """
        self._monitor, self._over, self._began = monitor, threading.Event(), time.monotonic()
        context = ray.get_runtime_context()
        self._actor, self._handle = name or str(context.get_actor_id()), context.current_actor
        self._place = f"{platform.node()} process {os.getpid()}"
        self._ready: float | None = None
        self._read: Callable[[Beat], Beat] = lambda beat: beat
        self._note: Callable[[Beat], object] = lambda beat: None
        self._thread = threading.Thread(target=self._send, name="dentgen-heartbeat", daemon=True)
        self._thread.start()

    def ready(self, read: Callable[[Beat], Beat], note: Callable[[Beat], object] = lambda beat: None) -> None:
        """The models are loaded; from now on ``read`` adds the engine's progress, and ``note`` gets every heartbeat."""
        self._ready, self._read, self._note = time.monotonic(), read, note

    def stop(self) -> None:
        """Sign off, so that the watchdog does not wait for further heartbeats; ``note`` gets a last one."""
        self._over.set()
        self._thread.join(_BEAT_S)
        self._tell(self._beat())
        self._monitor.forget.remote(self._actor)

    def crashes(self, work: str) -> int:
        """How many processes died while they did a piece of work."""
        return _answer(self._monitor.crashes.remote(work)) or 0

    @contextmanager
    def tracking(self, work: str) -> Iterator[int]:
        """Count the block as a crash if it never ends; an exception is an end.

        Yields:
            The number of this attempt: 1, and one more for every start that never ended.
        """
        attempt = record_start(self._monitor, work, ray.get_runtime_context().get_node_id())
        try:
            yield attempt or 1
        finally:
            self._monitor.end.remote(work)

    def _send(self) -> None:
        while not self._over.is_set():
            beat = self._beat()
            self._monitor.beat.remote(self._actor, beat, self._handle)
            self._tell(beat)
            self._over.wait(_BEAT_S)

    def _beat(self) -> Beat:
        now, ready = time.monotonic(), self._ready
        return self._read(Beat(self._place, (ready or now) - self._began, now - ready if ready is not None else 0.0))

    def _tell(self, beat: Beat) -> None:
        """Let ``note`` have a heartbeat; whatever becomes of it, this thread must live: silence kills the actor."""
        try:
            self._note(beat)
        except Exception as error:  # noqa: BLE001 - metrics are worth no actor
            _LOG.warning("no more metrics of this actor: %r", error)
            self._note = lambda beat: None


class Watchdog:
    """The driver's side: listens while a build runs and kills what hangs; a context manager.

    Attributes:
        monitor: The actor that receives heartbeats.
        failure: Why the build was ended, "" if it was not.
        last: The last heartbeat of every process, by its place.
        startup: Seconds from the start of the watchdog until the process could take units.
        alive: Actors that send heartbeats.
        on_look: Called about once a second, in the watchdog's thread.
    """

    def __init__(self, stall_seconds: float) -> None:
        """Configure the watchdog; it starts on entering the context."""
        self.monitor: Any = None
        self.failure = ""
        self.last: dict[str, Beat] = {}
        self.startup: dict[str, float] = {}
        self.alive = 0
        self.on_look: Callable[[], object] = lambda: None
        self._began = time.monotonic()
        self._stall = stall_seconds
        self._hangs: Counter[str] = Counter()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="dentgen-watchdog", daemon=True)

    def __enter__(self) -> Self:
        """Start the monitor and listen."""
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        self.monitor = HeartbeatMonitor.options(scheduling_strategy=here).remote()  # type: ignore[attr-defined]  # of the decorator
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening."""
        self._over.set()
        self._thread.join()

    def _listen(self) -> None:
        while not self._over.wait(_BEAT_S):
            self.on_look()
            found = self._ask(self.monitor.read.remote())
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
        handle = self._ask(self.monitor.handle.remote(actor))
        if handle is None:  # it signed off meanwhile, or the next look kills it
            return
        self._hangs[actor] += hangs
        last_time = self._hangs[actor] > _MAX_KILLS
        _LOG.error("%s; killing it, %s", complaint, "not restarting" if last_time else "restarting")
        if last_time:
            self.failure = f"{complaint}, after {_MAX_KILLS} restarts for the same reason"
        self.monitor.forget.remote(actor)
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
