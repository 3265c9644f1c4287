"""The plan of a build as it stands in storage. Refuses to know how a plan is made, so that reading one is light."""

from __future__ import annotations

import io
from typing import Final

from dentgen import storage
from dentgen.errors import BuildError, faults_of
from dentgen.shards.plan import Plan
from dentgen.shards.tar import json_bytes
from dentgen.spec.build import BuildSpec

PLAN: Final = "plan"
#: What was indexed of the source, kept beside the plan.
SOURCE_INDEX: Final = "source.parquet"
_FIRST: Final = "000000.json"
#: Stands for the units while the rest of a plan is written.
_MARK: Final = "units of this plan"
_QUOTED_MARK: Final = f'"{_MARK}"'.encode()


def read_plan(out: str) -> Plan:
    """The plan that stands in a build; keys that its spec lacks have their defaults.

    Raises:
        BuildError: If there is none.
    """
    url = plan_url(out)
    if not storage.exists(url):
        raise BuildError(f"{url}: no plan is there, expected a build begun by 'dentgen generate'")
    try:
        plan = Plan.model_validate_json(storage.read_bytes(url))
        spec = BuildSpec.model_validate(plan.spec)
        _check(plan, spec)
    except ValueError as error:
        raise BuildError(f"{url}: found no readable plan, expected what was put there: {faults_of(error)}") from error
    return plan.model_copy(update={"spec": spec.model_dump(mode="json")})


def _check(plan: Plan, spec: BuildSpec) -> None:
    """Units are found by their number, and shards and ledger are named by it.

    Raises:
        ValueError: If they are not numbered in order, one ends before it starts, or the spec is none.
    """
    if spec.sampling.variants != plan.spec.get("sampling", {}).get("variants"):
        raise ValueError("found a spec without sampling.variants")
    for number, unit in enumerate(plan.units):
        if unit.id != number or unit.start >= unit.stop:
            raise ValueError(f"found {unit!r} as number {number}")


def plan_bytes(plan: Plan) -> bytes:
    """A plan as it is stored: canonical JSON like every document's, unit by unit, because there may be a million."""
    head, tail = json_bytes(plan.model_dump(mode="json", exclude={"units"}) | {"units": [_MARK]}).split(_QUOTED_MARK)
    content = io.BytesIO()
    content.write(head if plan.units else head.rstrip())
    for number, unit in enumerate(plan.units):
        text = json_bytes(unit.model_dump(mode="json")).rstrip().replace(b"\n", b"\n  ")
        content.write((b",\n  " if number else b"") + text)
    content.write(tail if plan.units else tail.lstrip())
    return content.getvalue()


def plan_files() -> tuple[str, ...]:
    """Names under a build that belong to its plan."""
    return tuple(f"{PLAN}/{name}" for name in (_FIRST, SOURCE_INDEX))


def plan_url(out: str) -> str:
    """Where the first plan segment stands."""
    return storage.join(out, PLAN, _FIRST)
