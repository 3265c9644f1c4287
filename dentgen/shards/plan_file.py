"""The plan of a build as it stands in storage. Refuses to know how a plan is made, so that reading one is light."""

from __future__ import annotations

from typing import Final

from dentgen import storage
from dentgen.errors import BuildError
from dentgen.records import Plan

PLAN: Final = "plan"
#: What was indexed of the source, kept beside the plan.
SOURCE_INDEX: Final = "source.parquet"
_FIRST: Final = "000000.json"


def read_plan(out: str) -> Plan:
    """The plan that stands in a build.

    Raises:
        BuildError: If there is none.
    """
    url = plan_url(out)
    if not storage.exists(url):
        raise BuildError(f"{url}: no plan is there, expected a build begun by 'dentgen generate'")
    try:
        return Plan.model_validate_json(storage.read_bytes(url))
    except ValueError as error:
        raise BuildError(f"{url}: found no readable plan, expected what was put there: {error}") from error


def plan_files() -> tuple[str, ...]:
    """Names under a build that belong to its plan."""
    return tuple(f"{PLAN}/{name}" for name in (_FIRST, SOURCE_INDEX))


def plan_url(out: str) -> str:
    """Where the first plan segment stands."""
    return storage.join(out, PLAN, _FIRST)
