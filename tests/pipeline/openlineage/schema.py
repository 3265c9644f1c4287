"""OpenLineage's own JSON Schemas beside this file (spec/ of github.com/OpenLineage/OpenLineage, Apache-2.0)."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
from referencing import Registry, Resource


@cache
def _registry() -> Registry[Any]:
    documents = [json.loads(path.read_text()) for path in Path(__file__).parent.glob("*.json")]
    return Registry().with_resources((document["$id"], Resource.from_contents(document)) for document in documents)


def problems(value: dict[str, Any]) -> list[str]:
    """What is wrong with an event or a facet by the schema that it names itself."""
    url = value.get("schemaURL") or value["_schemaURL"]
    validator = jsonschema.Draft202012Validator(
        {"$ref": url}, registry=_registry(), format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    )
    return [error.message for error in validator.iter_errors(value)]


def event_problems(event: dict[str, Any]) -> list[str]:
    """What is wrong with an event and all facets in it."""
    datasets = [*event["inputs"], *event["outputs"]]
    names = ("facets", "inputFacets", "outputFacets")
    holders = [event["run"].get("facets"), *(dataset.get(name) for dataset in datasets for name in names)]
    return [
        *problems(event), *(text for holder in holders for one in (holder or {}).values() for text in problems(one))
    ]  # fmt: skip
