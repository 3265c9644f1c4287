"""Verification of a whole build: the plan against its source's index, and everything else against the plan."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from dentgen import storage
from dentgen.conditions.labels import LABEL_VALUES
from dentgen.conditions.readers.raw import ConditionShard
from dentgen.errors import StorageError
from dentgen.pipeline.find_plan import find_plan
from dentgen.pipeline.source_index import read_indexed_shards
from dentgen.pipeline.units import cut_units
from dentgen.shards import layout
from dentgen.shards.plan import Plan
from dentgen.shards.problem import Problem
from dentgen.shards.unit_table import UnitTable
from dentgen.shards.verify import verify_build


def verify(out: str, progress: Callable[[int, int], None] | None = None) -> Iterator[Problem]:
    """Recompute what can be recomputed without the model, and compare.

    Args:
        out: The build.
        progress: Called with the units checked and the units planned.

    Yields:
        Problems; none if the build is intact.

    Raises:
        BuildError: If there is no plan, or it is damaged and has no sealed copy.
    """
    found = find_plan(out)
    yield from found.problems
    yield from source_index_problems(out, found.plan)
    yield from verify_build(out, found.plan, LABEL_VALUES, progress)


def source_index_problems(out: str, plan: Plan) -> Iterator[Problem]:
    """Cut the indexed source into units once more, and compare them with those of the plan."""
    try:
        units = _indexed_units(out, plan)
    except (StorageError, ValueError, LookupError, TypeError, AttributeError) as error:  # of values that nobody wrote
        yield Problem(layout.SOURCE_INDEX, f"cannot be read: {error}", derived=layout.SOURCE_INDEX)
        return
    if not units.same_units(plan.units):
        text = f"gives {len(units)} units that are not the {len(plan.units)} of the plan"
        yield Problem(layout.SOURCE_INDEX, text, derived=layout.SOURCE_INDEX)


def _indexed_units(out: str, plan: Plan) -> UnitTable:
    places, indexes = read_indexed_shards(storage.join(out, layout.SOURCE_INDEX))
    # cutting looks at neither URL nor kind
    shards = [ConditionShard(name, "", "tar", size, tag) for name, size, tag in places]
    return UnitTable.of(cut_units(shards, indexes, plan.spec))
