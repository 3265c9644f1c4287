"""The stored plan: of every segment a small JSON head, written last, and the units as Parquet beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, Final

from pydantic import Field

from dentgen import storage
from dentgen.documents.document import Document
from dentgen.documents.gate import PlannedGate
from dentgen.documents.index import SourceBuild
from dentgen.errors import BuildError, faults_of
from dentgen.shards import layout
from dentgen.shards.plan import Plan, segment_digest
from dentgen.shards.seals import newest_sealed
from dentgen.shards.tar import json_bytes
from dentgen.shards.unit_table import UnitTable
from dentgen.spec.build import BuildSpec

_THREADS: Final = 16
#: What all segments of a plan have in common.
_COMMON: Final = ("spec_digest", "bundle_digest", "environment", "bundle_licenses", "made_from", "gate")


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
    gate: PlannedGate | None = Field(default=None, description="The quality gate, resolved; null without one.")
    num_units: int = Field(ge=0, description="Units in plan/NNNNNN.units.parquet.")
    units_sha256: str = Field(description="sha256 of plan/NNNNNN.units.parquet.")
    first_unit: int = Field(default=0, ge=0, description="Number of the first of them: units that stood before.")
    retires: tuple[int, ...] = Field(default=(), description="Units of earlier segments that no longer belong.")
    base_sha256: str = Field(default="", description="Digest of the plan that the segment continues.")


@dataclass(frozen=True, slots=True)
class PlanSegment:
    """One stored segment: its head, its units, and the file that holds the head, for messages."""

    head: PlanHead
    units: UnitTable
    file: str

    def digest(self) -> str:
        """As that of the plan up to this segment."""
        head = self.head
        decided = [head.segment, head.spec_digest, head.bundle_digest, head.environment, self.units.digest()]
        made_of = [part for part in (head.made_from, head.gate) if part is not None]
        return segment_digest(decided, head.bundle_licenses, made_of, head.base_sha256, head.retires)


def read_plan(out: str, until: int | None = None) -> Plan:
    """The plan of a build, its segments joined; keys that its spec lacks take their defaults.

    Args:
        out: The build.
        until: The last segment to read; None: the newest.

    Raises:
        BuildError: If there is none, or a segment is missing, damaged, or does not continue the one before.
    """
    last = max(newest_segment(out) or 0, 0) if until is None else until
    if not last:
        return join_segments([read_segment(out, 0)])
    return join_segments(_read_ahead(out, last))


def sealed_plan(out: str) -> Plan:
    """The plan of the newest sealed version, or the whole plan of a build of which nothing was sealed yet.

    Raises:
        BuildError: As ``read_plan``.
    """
    return read_plan(out, newest_sealed(out))


def read_segment(out: str, segment: int = 0, *, copy: bool = False) -> PlanSegment:
    """One segment of a plan.

    Args:
        out: The build.
        segment: Its number.
        copy: Read the copy that was sealed with the version.

    Raises:
        BuildError: If it is missing or damaged.
    """
    head_name, units_name = copy_names(segment) if copy else (layout.plan_head(segment), layout.plan_units(segment))
    head, content = _read_head(out, head_name), storage.read_if_exists(storage.join(out, units_name))
    file = storage.without_secrets(storage.join(out, units_name))
    if content is None:
        raise BuildError(file=file, found="no file", expected=f"the {head.num_units} units of the plan")
    found = hashlib.sha256(content).hexdigest()
    if found != head.units_sha256:
        raise BuildError(file=file, found=f"sha256 {found}", expected=f"{head.units_sha256}, as the plan says")
    try:
        units = UnitTable.from_parquet(content, head.first_unit)
    except ValueError as error:
        raise BuildError(str(error), file=file) from error
    if len(units) != head.num_units:
        raise BuildError(file=file, found=f"{len(units)} units", expected=f"{head.num_units}, as the plan says")
    place = storage.without_secrets(storage.join(out, head_name))
    _require(place, "segment", head.segment, segment)
    return PlanSegment(head, units, place)


def copy_names(segment: int) -> tuple[str, str]:
    """Names of the copies of a segment's head and units that were sealed with the version."""
    return layout.versioned(segment, layout.PLAN_COPY), layout.versioned(segment, layout.UNITS_COPY)


def _read_ahead(out: str, last: int) -> Iterator[PlanSegment]:
    """Segments in order, of which only some are in memory at a time."""
    with ThreadPoolExecutor(_THREADS) as pool:
        for start in range(0, last + 1, _THREADS):
            yield from pool.map(partial(read_segment, out), range(start, min(start + _THREADS, last + 1)))


def join_segments(segments: Iterable[PlanSegment]) -> Plan:
    """One plan of several segments, at least one, which must start with the first one; their heads are not kept.

    Raises:
        BuildError: If a segment does not continue those before it.
    """
    remaining = iter(segments)
    one = next(remaining)
    first = newest = one.head
    firsts, retires, tables, total = list[int](), list[tuple[int, ...]](), list[UnitTable](), 0
    for segment in chain([one], remaining):
        newest = segment.head
        _require(segment.file, "first_unit", newest.first_unit, total)
        for key in _COMMON:
            _require(segment.file, key, getattr(newest, key), getattr(first, key))
        _require(segment.file, "retires", [unit for unit in newest.retires if not 0 <= unit < total], [])
        firsts.append(total)
        retires.append(newest.retires)
        tables.append(segment.units)
        total += newest.num_units
    return Plan(
        segment=newest.segment,
        spec=newest.spec,
        spec_digest=first.spec_digest,
        bundle_digest=first.bundle_digest,
        environment=first.environment,
        units=tables[0] if len(tables) == 1 else UnitTable.joined(tables, chain.from_iterable(retires)),
        bundle_licenses=first.bundle_licenses,
        made_from=first.made_from,
        gate=first.gate,
        firsts=tuple(firsts),
        retires=tuple(retires),
        base_sha256=newest.base_sha256,
    )


def _require(file: str, key: str, found: Any, expected: Any) -> None:
    if found != expected:
        raise BuildError("the plan is damaged", file=file, key=key, found=found, expected=expected)


def write_plan(out: str, plan: Plan) -> bool:
    """Publish the newest segment of a plan unless the build has it: units first, then the head, which makes it count.

    Returns:
        True if the build now has this segment, False if it had one already, which may be equal or not.
    """
    names = layout.plan_head(plan.segment), layout.plan_units(plan.segment)
    head_url, units_url = (storage.join(out, name) for name in names)
    if storage.exists(head_url):
        return False
    units = plan.newest_units.to_parquet()
    replaced = _put_units(units_url, units)
    head = plan_head(plan, units)
    if not storage.put_if_absent(head_url, head):
        if replaced is not None and hashlib.sha256(replaced).hexdigest() == _read_head(out, names[0]).units_sha256:
            storage.overwrite(units_url, replaced)  # they belong to a plan that another process published meanwhile
        return False
    storage.require_create_only(head_url, head)
    if storage.read_bytes(units_url) != units:
        storage.overwrite(units_url, units)
    return True


def plan_head(plan: Plan, units: bytes) -> bytes:
    """The head of the newest segment as it is stored: canonical JSON."""
    head = PlanHead(
        segment=plan.segment,
        spec=plan.spec,
        spec_digest=plan.spec_digest,
        bundle_digest=plan.bundle_digest,
        environment=plan.environment,
        bundle_licenses=plan.bundle_licenses,
        made_from=plan.made_from,
        gate=plan.gate,
        num_units=len(plan.newest_units),
        units_sha256=hashlib.sha256(units).hexdigest(),
        first_unit=plan.firsts[-1],
        retires=plan.retires[-1],
        base_sha256=plan.base_sha256,
    )
    return json_bytes(head.model_dump(mode="json"))


def newest_segment(out: str) -> int | None:
    """Number of the newest segment of a build's plan, readable or not; None if it has no plan.

    A store may list late, so that the segments after those that it lists are asked for by name.
    """
    listed = (layout.segment_of(name) for name in storage.list_names(storage.join(out, layout.PLAN)))
    newest = max((number for number in listed if number is not None), default=-1)
    while storage.exists(storage.join(out, layout.plan_head(newest + 1))):
        newest += 1
    return newest if newest >= 0 else None


def plan_exists(out: str) -> bool:
    """Whether a build has a plan, readable or not."""
    return newest_segment(out) is not None


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
