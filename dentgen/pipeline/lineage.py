"""OpenLineage events of a build: that it started, and how it ended, to a file or a web address.

Whoever receives them never holds a build up: events are sent by a thread of their own, failures cost one warning.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from dentgen import storage
from dentgen.documents.index import DatasetIndex
from dentgen.errors import SpecError
from dentgen.pipeline.lineage_events import (
    EventType,
    Facets,
    InputDataset,
    Job,
    OutputDataset,
    Run,
    RunEvent,
    dataset_name,
    facet,
)
from dentgen.redaction import shown
from dentgen.shards.plan import Plan
from dentgen.spec.build import BuildSpec

_LOG = logging.getLogger(__name__)

#: For one event, and for what is still on its way when a build ends.
_SECONDS: Final = 5.0
_ENDPOINT: Final = "/api/v1/lineage"


class EventSender:
    """Sends events in order, in a thread; a context manager that waits a few seconds for the last ones."""

    def __init__(self, place: str, seconds: float = _SECONDS) -> None:
        """Send nothing yet.

        Args:
            place: A local file, to which lines of JSON are appended, or an http or https URL.
            seconds: Longest wait for an answer, and at the end.

        Raises:
            SpecError: If the place is neither.
        """
        if storage.is_remote(place) and not storage.is_web(place):
            raise SpecError(
                key="--lineage", found=storage.without_secrets(place), expected="a local file, or an http URL"
            )
        self._place, self._seconds, self._warned = place, seconds, False
        self._events: queue.Queue[RunEvent | None] = queue.Queue()
        self._thread = threading.Thread(target=self._send_on, name="dentgen-lineage", daemon=True)

    def __enter__(self) -> EventSender:
        """Start the thread."""
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Let the last events go out, if that does not take long."""
        self._events.put(None)
        self._thread.join(self._seconds)
        if self._thread.is_alive():
            self._warn("no answer")

    def send(self, event: RunEvent) -> None:
        """Send an event, some time soon."""
        self._events.put(event)

    def _send_on(self) -> None:
        while (event := self._events.get()) is not None:
            try:
                self._send(event.model_dump_json().encode())
            except Exception as error:  # noqa: BLE001 - whoever receives events must not fail a build
                self._warn(repr(error))

    def _send(self, event: bytes) -> None:
        if not storage.is_web(self._place):
            path = Path(storage.absolute(self._place))
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as file:  # one write, so that lines of several builds do not mix
                file.write(event + b"\n")
            return
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get("OPENLINEAGE_API_KEY"):
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(address_of(self._place), event, headers)  # noqa: S310 - http or https
        with urllib.request.urlopen(request, timeout=self._seconds) as answer:  # noqa: S310
            answer.read()

    def _warn(self, problem: str) -> None:
        if not self._warned:
            self._warned = True
            _LOG.warning("%s takes no OpenLineage events: %s", storage.without_secrets(self._place), shown(problem))


class BuildLineage:
    """The events of one attempt at a build."""

    def __init__(self, sender: EventSender | None, spec: BuildSpec, run: str) -> None:
        """Tell nothing yet.

        Args:
            sender: Takes the events; None: nobody does.
            spec: What is built.
            run: Random name of the attempt, 32 hexadecimal digits.
        """
        self._sender, self._spec, self._run = sender, spec, str(uuid.UUID(run))
        self._producer = f"https://pypi.org/project/dentgen/{version('dentgen')}"
        self._read: Facets = {}

    def start(self) -> None:
        """The attempt starts."""
        self._tell("START", {}, {}, {})

    def planned(self, plan: Plan) -> None:
        """What the build reads is known."""
        if self._sender is None:
            return
        sizes = plan.units.shard_sizes()
        counts = {"rowCount": plan.units.records, "fileCount": len(sizes)}
        statistics = facet("InputStatisticsInputDatasetFacet", self._producer, size=sum(sizes.values()), **counts)
        self._read = {"inputStatistics": statistics}

    def complete(self, index: DatasetIndex) -> None:
        """The dataset is there."""
        counts = {"rowCount": index.written, "fileCount": len(index.shards)}
        size = sum(shard.bytes for shard in index.shards)
        written = facet("OutputStatisticsOutputDatasetFacet", self._producer, size=size, **counts)
        number = facet("DatasetVersionDatasetFacet", self._producer, datasetVersion=str(index.version))
        self._tell("COMPLETE", {}, {"version": number}, {"outputStatistics": written})

    def end(self, error: BaseException) -> None:
        """The attempt failed, or was interrupted."""
        message = shown(str(error) or type(error).__name__)
        told = facet("ErrorMessageRunFacet", self._producer, message=message, programmingLanguage="python")
        self._tell("FAIL" if isinstance(error, Exception) else "ABORT", {"errorMessage": told}, {}, {})

    def _tell(self, kind: EventType, run: Facets, output: Facets, written: Facets) -> None:
        if self._sender is None:
            return
        source, made = dataset_name(self._spec.source.path), dataset_name(self._spec.output.path)
        event = RunEvent(
            eventType=kind,
            eventTime=datetime.now(UTC).isoformat(timespec="milliseconds"),
            run=Run(runId=self._run, facets={**self._parent(), **run}),
            job=Job(
                namespace=os.environ.get("OPENLINEAGE_NAMESPACE") or "dentgen",
                name=f"generate {storage.without_secrets(self._spec.output.path)}",
            ),
            inputs=(InputDataset(namespace=source[0], name=source[1], inputFacets=self._read),),
            outputs=(OutputDataset(namespace=made[0], name=made[1], facets=output, outputFacets=written),),
            producer=self._producer,
        )
        self._sender.send(event)

    def _parent(self) -> Facets:
        """The run of a scheduler that started this one, from ``OPENLINEAGE_PARENT_ID``: NAMESPACE/JOB/RUN."""
        namespace, _, rest = os.environ.get("OPENLINEAGE_PARENT_ID", "").partition("/")
        name, _, run = rest.rpartition("/")
        if not (namespace and name and _is_uuid(run)):
            return {}
        parent: dict[str, Any] = {"run": {"runId": run}, "job": {"namespace": namespace, "name": name}}
        return {"parent": facet("ParentRunFacet", self._producer, **parent)}


@contextmanager
def told_of(sender: EventSender | None, spec: BuildSpec, run: str) -> Iterator[BuildLineage]:
    """Tell of one attempt at a build: that it started, and if the block fails, that it failed; the rest is the block's.

    Args:
        sender: Takes the events; None: nobody does.
        spec: What is built.
        run: Random name of the attempt.
    """
    lineage = BuildLineage(sender, spec, run)
    lineage.start()
    try:
        yield lineage
    except BaseException as error:
        lineage.end(error)
        raise


def address_of(url: str) -> str:
    """Where events go: the URL itself, or the usual path of a server that is given without one."""
    return url.rstrip("/") + _ENDPOINT if urlsplit(url).path in {"", "/"} else url


def _is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True
