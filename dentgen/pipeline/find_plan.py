"""The plan that a build was made with, whatever happened to its files: checked against seals and their copies."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from dentgen import storage
from dentgen.errors import BuildError, StorageError
from dentgen.shards import layout
from dentgen.shards.index_reader import sealed_indexes
from dentgen.shards.plan import Plan
from dentgen.shards.plan_file import PlanSegment, copy_names, join_segments, newest_segment, read_segment
from dentgen.shards.problem import Problem
from dentgen.shards.seals import newest_sealed, read_seal
from dentgen.shards.unit_table import UnitTable


@dataclass(frozen=True, slots=True)
class FoundPlan:
    """The plan to go by.

    Attributes:
        plan: The plan, up to the newest version that was sealed.
        problems: What is wrong with the stored one.
        copies: Segments that were read from the copies that were sealed instead of their places.
        later: Units that later segments plan, which no version has yet.
        segments: The segments that were joined.
    """

    plan: Plan
    problems: tuple[Problem, ...] = ()
    copies: tuple[int, ...] = ()
    later: int = 0
    segments: tuple[PlanSegment, ...] = ()

    @property
    def retired(self) -> UnitTable:
        """Units that later segments retired; earlier versions have them."""
        return UnitTable.joined(segment.units for segment in self.segments).only(self.plan.retired)


def find_plan(out: str) -> FoundPlan:
    """Read the plan of a build; where it is damaged or was changed, the copies that were sealed with its versions.

    Raises:
        BuildError: If there is no plan, or a segment is damaged and has no copy.
    """
    sealed, newest = newest_sealed(out), newest_segment(out) or 0
    last = newest if sealed is None else sealed
    segments: list[PlanSegment] = []
    problems: list[Problem] = []
    copies: list[int] = []
    base = ""
    for number in range(last + 1):
        faults = _faults(out, number, base, is_newest=number == last, is_copy=False)
        from_copy = bool(faults) and not _faults(out, number, base, is_newest=number == last, is_copy=True)
        problems += [Problem(layout.plan_head(number), fault) for fault in faults]
        copies += [number] if from_copy else []
        segments.append(read_segment(out, number, copy=from_copy))
        base = segments[-1].digest()
    later = sum(read_segment(out, number).head.num_units for number in range(last + 1, newest + 1))
    return FoundPlan(join_segments(segments), tuple(problems), tuple(copies), later, tuple(segments))


def put_back(out: str, found: FoundPlan) -> None:
    """Replace damaged segments by their sealed copies: units first, then the head, which names them."""
    for number in found.copies:
        head, units = copy_names(number)
        for name, copied in ((layout.plan_units(number), units), (layout.plan_head(number), head)):
            storage.overwrite(storage.join(out, name), storage.read_bytes(storage.join(out, copied)))


def _faults(out: str, number: int, base: str, *, is_newest: bool, is_copy: bool) -> list[str]:
    """What is wrong with a segment: it cannot be read, disagrees with itself, or is not the one that was sealed."""
    try:
        segment = read_segment(out, number, copy=is_copy)
    except (BuildError, StorageError) as error:
        return [str(error)]
    head, faults = segment.head, []
    if (digest := head.spec.digest()) != head.spec_digest:
        faults.append(f"found spec_digest {head.spec_digest}, expected {digest}, the digest of its spec")
    if head.base_sha256 != base:
        faults.append(f"found base_sha256 {head.base_sha256!r}, expected {base!r}, the digest of the plan before it")
    sealed = _sealed_digests(out, number, is_newest=is_newest)
    if sealed and (digest := segment.digest()) not in sealed | _digest_of_copy(out, number):
        faults.append(f"found digest {digest}, expected {' or '.join(sorted(sealed))}, as the index says")
    return faults


def _sealed_digests(out: str, number: int, *, is_newest: bool) -> set[str]:
    """What indexes say of a plan; of earlier versions their seals, whose indexes may be large."""
    if is_newest:
        return {index.plan_sha256 for index in sealed_indexes(out, number)}
    seal = read_seal(out, number)
    return set() if seal is None else {seal.plan_sha256}


def _digest_of_copy(out: str, number: int) -> set[str]:
    """Digest of the copy that was sealed with a version."""
    with suppress(BuildError, StorageError):  # missing or damaged: no witness
        return {read_segment(out, number, copy=True).digest()}
    return set()
