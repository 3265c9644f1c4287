"""Verification of a whole build: the plan against its source's index, and everything else against the plan."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from dentgen.conditions.labels import LABEL_VALUES
from dentgen.errors import StorageError
from dentgen.pipeline.find_plan import FoundPlan, find_plan
from dentgen.pipeline.recut import indexed_units
from dentgen.shards import layout
from dentgen.shards.problem import Problem
from dentgen.shards.verify import verify_build


def verify(out: str, progress: Callable[[int, int], None] | None = None) -> Iterator[Problem]:
    """Recompute what can be recomputed without the model, and compare.

    A build that grows is verified as the newest version that was sealed, together with units that only earlier versions
    have; what is being added is not looked at.

    Args:
        out: The build.
        progress: Called with the units checked and the units there are.

    Yields:
        Problems; none if the build is intact.

    Raises:
        BuildError: If there is no plan, or it is damaged and has no sealed copy.
    """
    found = find_plan(out)
    yield from found.problems
    yield from source_index_problems(out, found)
    yield from verify_build(out, found.plan, LABEL_VALUES, progress, found.later, found.retired)


def source_index_problems(out: str, found: FoundPlan) -> Iterator[Problem]:
    """Cut the indexed source into units once more, segment by segment, and compare them with those of the plan."""
    for number, segment in enumerate(found.segments):
        name = layout.source_index(number)
        try:
            units = indexed_units(out, found.plan, found.segments[: number + 1])
        except (StorageError, ValueError, LookupError, TypeError, AttributeError) as error:  # of values nobody wrote
            yield Problem(name, f"cannot be read: {error}", derived=name)
            continue
        if not units.same_units(segment.units):
            text = f"gives {len(units)} units that are not the {len(segment.units)} of the plan"
            yield Problem(name, text, derived=name)
