"""Heartbeats: actors report liveness and progress to a monitor, which outlives them.

The monitor also counts work that was started and never finished. Ray restarts it if its process is lost; it counts anew
then, because a lost monitor must not fail the work.
"""

from __future__ import annotations

import logging
import os
import platform
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import ray

_LOG = logging.getLogger(__name__)
#: Seconds between two heartbeats.
BEAT_S: Final = 1.0
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


def record_start(monitor: Any, work: str, node: str, timeout_s: float = _ASK_TIMEOUT_S) -> int | None:
    """Record that a node started a piece of work.

    Args:
        monitor: The monitor.
        work: Name of the work.
        node: Id of the node.
        timeout_s: How long to wait for the monitor.

    Returns:
        How often it was started without an end, this time too; None if the monitor does not answer.
    """
    started: int | None = _answer(monitor.begin.remote(work, node), timeout_s)
    return started


def _answer(asked: Any, timeout_s: float = _ASK_TIMEOUT_S) -> Any:
    """The monitor's answer, None if there is none."""
    try:
        return ray.get(asked, timeout=timeout_s)
    except ray.exceptions.RayError as error:
        _LOG.warning("cannot reach the heartbeat monitor, assuming no crash: %s", error)
        return None


class Heartbeat:
    """The actor's side: a thread that sends heartbeats while the process lives."""

    def __init__(self, monitor: str, name: str = "") -> None:
        """Start the thread, before anything is loaded.

        Args:
            monitor: Name of the ``HeartbeatMonitor``; Ray warns of handles among what actors start with.
            name: Of the actor, the same where Ray restarts it; "" for its id.
        """
        self._monitor: Any = ray.get_actor(monitor)
        self._over, self._began = threading.Event(), time.monotonic()
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
        self._thread.join(BEAT_S)
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
            self._over.wait(BEAT_S)

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
