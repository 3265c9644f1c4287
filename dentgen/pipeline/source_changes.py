"""How a source differs from the condition shards that a build knows: new ones, changed ones, and ones that are gone."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from dentgen import storage
from dentgen.conditions.readers.raw import ConditionShard
from dentgen.conditions.readers.source import index_shard, list_shards
from dentgen.conditions.shard_content import has_content, shard_content
from dentgen.errors import RefusedFileError, SpecChangedError
from dentgen.pipeline.known_source import KnownShard, known_shards, note_copies
from dentgen.shards import layout
from dentgen.shards.plan import Plan
from dentgen.spec.build import BuildSpec

_LOG = logging.getLogger(__name__)

_THREADS: Final = 16
#: What becomes of condition shards that changed or vanished after they were planned.
OnChanged = Literal["refuse", "skip", "rebuild-as-new"]


@dataclass(frozen=True, slots=True)
class ChangedShard:
    """A condition shard whose content is not what was planned; ``shard`` is None if it is gone."""

    name: str
    planned: str
    found: str
    shard: ConditionShard | None = None

    def __str__(self) -> str:
        """One line."""
        if self.shard is None:
            return f"source: the condition shard {self.name} is gone"
        change = f"{self.planned} -> {self.found}"
        return f"source: the condition shard {self.name} was replaced since the build was planned: {change}"


@dataclass(frozen=True, slots=True)
class SourceChanges:
    """What became of a source since it was planned.

    Attributes:
        new: Condition shards that no plan segment knows, in order.
        changed: Those that changed or are gone, in order.
    """

    new: tuple[ConditionShard, ...] = ()
    changed: tuple[ChangedShard, ...] = ()


def source_changes(out: str, spec: BuildSpec, plan: Plan) -> SourceChanges:
    """Compare the source of a spec with the condition shards of a plan.

    Shards of the same size and tag are not read. A copy, which has another time, is read and compared once: its tag is
    noted in the build.

    Args:
        out: The build.
        spec: What to build.
        plan: Its plan.

    Raises:
        ConditionError: If the source has no shard.
        StorageError: If it cannot be listed or read.
    """
    known = known_shards(out, plan)
    listed = list_shards(spec.source.path, spec.source.format)
    moved = [shard for shard in listed if shard.name in known and not _is_same(shard, known[shard.name])]
    with ThreadPoolExecutor(_THREADS) as pool:
        changes = list(pool.map(lambda shard: _change(shard, known[shard.name]), moved))
    copies = [shard for shard, change in zip(moved, changes, strict=True) if change is None]
    note_copies(out, plan, copies, known)
    changed = [*filter(None, changes), *_gone(known, listed)]
    return SourceChanges(
        tuple(shard for shard in listed if shard.name not in known), tuple(sorted(changed, key=lambda one: one.name))
    )


def require_acceptable(
    out: str, plan: Plan, changes: SourceChanges, pending: NDArray[np.int64], on_changed: OnChanged
) -> None:
    """Refuse condition shards that changed, or name each in a warning, as the user chose.

    Args:
        out: The build.
        plan: Its plan.
        changes: What became of the source.
        pending: Numbers of units that are not generated yet; they need their condition shards as they were.
        on_changed: What the user chose.

    Raises:
        SpecChangedError: If changes are refused; the message lists them all.
    """
    needed = {unit.shard for unit in plan.units.select(pending)} if changes.changed else set()
    refused = [change for change in changes.changed if on_changed == "refuse" or change.name in needed]
    if refused:
        is_needed = any(change.name in needed for change in refused)
        raise SpecChangedError(
            "the build was started differently:\n  " + "\n  ".join(map(str, refused)),
            file=storage.without_secrets(storage.join(out, layout.plan_head(plan.segment))),
            key=refused[0].name,
            advice="undo the change: units of it are pending" if is_needed else "undo the change, or see --on-changed",
        )
    done = "what was built of it stays" if on_changed == "skip" else "the next version leaves out what was built of it"
    for change in changes.changed:
        _LOG.warning("%s; %s", change, done)


def _is_same(shard: ConditionShard, known: KnownShard) -> bool:
    """Whether a look at size and tag is enough; a shard that could not be read may be readable by now."""
    return (shard.size, shard.tag) == (known.size, known.tag) and not known.problem


def _change(shard: ConditionShard, known: KnownShard) -> ChangedShard | None:
    if known.problem and not index_shard(shard, with_metadata=False).problem:
        return ChangedShard(shard.name, known.problem, "a shard that can be read", shard)
    if not known.content and known.problem:
        return None  # nobody could read it, then or now
    try:
        if shard.size == known.size and has_content(shard, known.content):
            return None
        return ChangedShard(shard.name, known.content, shard_content(shard), shard)
    except RefusedFileError as error:
        return ChangedShard(shard.name, known.content, str(error), shard)


def _gone(known: Mapping[str, KnownShard], listed: Sequence[ConditionShard]) -> list[ChangedShard]:
    there = {shard.name for shard in listed}
    return [ChangedShard(name, shard.content, "") for name, shard in known.items() if name not in there]
