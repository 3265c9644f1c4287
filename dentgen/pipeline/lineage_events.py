"""OpenLineage's run events, version 2-0-2 of its specification, as documents: as much of them as a build tells."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from dentgen import storage

SCHEMA: Final = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
_FACETS: Final = {
    "ParentRunFacet": "1-2-0",
    "ErrorMessageRunFacet": "1-0-1",
    "DatasetVersionDatasetFacet": "1-0-1",
    "InputStatisticsInputDatasetFacet": "1-0-0",
    "OutputStatisticsOutputDatasetFacet": "1-0-2",
}

EventType = Literal["START", "COMPLETE", "FAIL", "ABORT"]
Facets = dict[str, dict[str, Any]]


class _Part(BaseModel):
    """Names are those of the specification."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Run(_Part):
    """One attempt at a build."""

    runId: str  # noqa: N815
    facets: Facets = {}


class Job(_Part):
    """What is run again and again."""

    namespace: str
    name: str


class InputDataset(_Part):
    """What a build reads."""

    namespace: str
    name: str
    inputFacets: Facets = {}  # noqa: N815


class OutputDataset(_Part):
    """What a build writes."""

    namespace: str
    name: str
    facets: Facets = {}
    outputFacets: Facets = {}  # noqa: N815


class RunEvent(_Part):
    """Something that happened to a run."""

    eventType: EventType  # noqa: N815
    eventTime: str  # noqa: N815
    run: Run
    job: Job
    inputs: tuple[InputDataset, ...] = ()
    outputs: tuple[OutputDataset, ...] = ()
    producer: str
    schemaURL: str = Field(default=SCHEMA)  # noqa: N815


def facet(kind: str, producer: str, **values: Any) -> dict[str, Any]:
    """A facet of the specification by the name of its type, with its fields."""
    url = f"https://openlineage.io/spec/facets/{_FACETS[kind]}/{kind}.json#/$defs/{kind}"
    return {"_producer": producer, "_schemaURL": url, **values}


def dataset_name(place: str) -> tuple[str, str]:
    """Namespace and name of a place by OpenLineage's naming: ``s3://BUCKET`` and a key, or ``file`` and a path."""
    place = storage.without_secrets(place if storage.is_remote(place) else storage.absolute(place)).rstrip("/")
    scheme, separator, rest = place.partition("://")
    if not separator:
        return "file", place or "/"
    authority, _, path = rest.partition("/")
    return f"{scheme}://{authority}", path or "/"
