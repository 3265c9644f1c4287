"""The stored plan: a small JSON head, written last, and the units as Parquet beside it."""

from __future__ import annotations

import hashlib

from pydantic import Field

from dentgen import storage
from dentgen.documents import Document, SourceBuild
from dentgen.errors import BuildError, faults_of
from dentgen.shards import layout
from dentgen.shards.plan import Plan
from dentgen.shards.tar import json_bytes
from dentgen.shards.unit_table import UnitTable
from dentgen.spec.build import BuildSpec


class PlanHead(Document):
    """``plan/NNNNNN.json``: everything of a plan segment but its units."""

    segment: int = Field(ge=0)
    spec: BuildSpec = Field(description="The resolved build spec.")
    spec_digest: str
    bundle_digest: str
    environment: dict[str, str] = Field(description="Library versions, device kind, precision, slots, threads.")
    bundle_licenses: tuple[str, ...] = Field(default=(), description="What the bundle and the chosen parts declare.")
    made_from: SourceBuild | None = Field(
        default=None, description="The finished build whose samples are the condition records."
    )
    num_units: int = Field(ge=0, description="Units in plan/NNNNNN.units.parquet.")
    units_sha256: str = Field(description="sha256 of plan/NNNNNN.units.parquet.")


def read_plan(out: str, head_name: str = layout.plan_head(), units_name: str = layout.plan_units()) -> Plan:
    """The plan of a build; keys that its spec lacks take their defaults.

    Args:
        out: The build.
        head_name: Its JSON head; another name for a version's copy.
        units_name: Likewise, its units.

    Raises:
        BuildError: If there is none, or it is damaged.
    """
    head, content = _read_head(out, head_name), storage.read_if_exists(storage.join(out, units_name))
    file = storage.without_secrets(storage.join(out, units_name))
    if content is None:
        raise BuildError(file=file, found="no file", expected=f"the {head.num_units} units of the plan")
    found = hashlib.sha256(content).hexdigest()
    if found != head.units_sha256:
        raise BuildError(file=file, found=f"sha256 {found}", expected=f"{head.units_sha256}, as the plan says")
    try:
        units = UnitTable.from_parquet(content)
    except ValueError as error:
        raise BuildError(str(error), file=file) from error
    if len(units) != head.num_units:
        raise BuildError(file=file, found=f"{len(units)} units", expected=f"{head.num_units}, as the plan says")
    return Plan(
        head.segment, head.spec, head.spec_digest, head.bundle_digest, head.environment, units, head.bundle_licenses,
        head.made_from,
    )  # fmt: skip


def write_plan(out: str, plan: Plan) -> bool:
    """Publish a plan unless the build has one: units first, then the head, which makes it count.

    Returns:
        True if the build now has this plan, False if it had one already, which may be equal or not.
    """
    head_url, units_url = (storage.join(out, name) for name in (layout.plan_head(), layout.plan_units()))
    if storage.exists(head_url):
        return False
    units = plan.units.to_parquet()
    replaced = _put_units(units_url, units)
    head = plan_head(plan, units)
    if not storage.put_if_absent(head_url, head):
        if (
            replaced is not None
            and hashlib.sha256(replaced).hexdigest() == _read_head(out, layout.plan_head()).units_sha256
        ):
            storage.overwrite(units_url, replaced)  # they belong to a plan that another process published meanwhile
        return False
    storage.require_create_only(head_url, head)
    if storage.read_bytes(units_url) != units:
        storage.overwrite(units_url, units)
    return True


def plan_head(plan: Plan, units: bytes) -> bytes:
    """The head as it is stored: canonical JSON."""
    head = PlanHead(
        segment=plan.segment,
        spec=plan.spec,
        spec_digest=plan.spec_digest,
        bundle_digest=plan.bundle_digest,
        environment=plan.environment,
        bundle_licenses=plan.bundle_licenses,
        made_from=plan.made_from,
        num_units=len(plan.units),
        units_sha256=hashlib.sha256(units).hexdigest(),
    )
    return json_bytes(head.model_dump(mode="json"))


def plan_exists(out: str) -> bool:
    """Whether a build has a plan, readable or not."""
    return storage.exists(storage.join(out, layout.plan_head()))


def remove_plan(out: str) -> None:
    """Remove a plan of which nothing was written: its head, which makes it count, first."""
    for name in (layout.plan_head(), layout.plan_units(), layout.SOURCE_INDEX):
        storage.remove(storage.join(out, name))


def _read_head(out: str, name: str) -> PlanHead:
    url = storage.join(out, name)
    content = storage.read_if_exists(url)
    file = storage.without_secrets(url)
    if content is None:
        raise BuildError(file=file, found="no plan", expected="a build started by 'dentgen generate'")
    try:
        head = PlanHead.model_validate_json(content)
    except ValueError as error:
        raise BuildError(f"the plan is damaged: {faults_of(error)}", file=file) from error
    if "variants" not in head.spec.sampling.model_fields_set:  # a default would change how many samples are planned
        raise BuildError(
            "the plan is damaged", file=file, key="spec.sampling.variants", found="none", expected="a count"
        )
    return head


def _put_units(url: str, units: bytes) -> bytes | None:
    """Write the units of an unpublished plan; returns the other bytes of another attempt that they replaced."""
    if storage.put_if_absent(url, units):
        return None
    found = storage.read_bytes(url)
    if found == units:
        return None
    storage.overwrite(url, units)
    return found
