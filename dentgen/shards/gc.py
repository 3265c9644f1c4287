"""Garbage collection: files of a finished build that neither its plan nor its ledger nor its seal accounts for."""

from __future__ import annotations

from collections.abc import Collection

from dentgen import storage
from dentgen.errors import BuildError
from dentgen.shards import layout
from dentgen.shards.index import sealed_indexes
from dentgen.shards.ledger import committed_units, read_ledgers
from dentgen.shards.plan import Plan
from dentgen.shards.record_faults import record_faults
from dentgen.storage import StoredFile


def stray_files(out: str, plan: Plan) -> list[StoredFile]:
    """List leftovers of killed or concurrent attempts.

    Only names that dentgen gives to files of this very build are listed; whatever else lies in the folder is not ours.

    Args:
        out: The build.
        plan: Its plan.

    Raises:
        BuildError: If a record does not fit the plan, or units are pending: what looks like a leftover may be a unit
            about to be committed.
    """
    done = committed_units(out)
    pending = [unit.name for unit in plan.units if unit.name not in done]
    if pending:
        raise BuildError(
            file=storage.without_secrets(out), found=f"{len(pending)} pending units, first {pending[0]}",
            expected="a finished build",
        )  # fmt: skip
    known = _known_names(out, plan)
    files = ((storage.relative_name(out, file.url), file) for file in storage.list_files(out))
    strays = (file for name, file in files if name not in known and _is_of_build(name, plan))
    return sorted(strays, key=lambda file: file.url)


def remove_files(files: Collection[StoredFile]) -> None:
    """Remove files, each by its name.

    Raises:
        StorageError: If one cannot be removed.
    """
    for file in files:
        storage.remove(file.url)


def _known_names(out: str, plan: Plan) -> set[str]:
    names = {layout.plan_head(), layout.plan_units(), layout.SOURCE_INDEX, *layout.TOP}
    names |= {layout.versioned(plan.segment, name) for name in layout.VERSIONED}
    names |= {f"{layout.SHARDS}/{entry.name}" for index in sealed_indexes(out) for entry in index.shards}
    for unit, record in zip(plan.units, read_ledgers(out, (unit.name for unit in plan.units)), strict=True):
        for fault in record_faults(plan, unit, record):
            raise BuildError(
                file=storage.without_secrets(storage.join(out, layout.ledger(unit.name))), key=fault.key,
                found=fault.found, expected=fault.expected, advice="repair the build first",
            )  # fmt: skip
        names |= {layout.ledger(unit.name)} | ({layout.shard(unit.name)} if record.shard else set())
    return names


def _is_of_build(name: str, plan: Plan) -> bool:
    """Whether this build gives a file its name, or that of the temporary file of a write that was cut off."""
    folder, _, last = name.rpartition("/")
    if last.startswith(".") and last.endswith(".tmp"):
        final = last[1:].removesuffix(".tmp").rpartition(".")[0]
        name = f"{folder}/{final}" if folder else final
    return layout.is_own(name, len(plan.units), plan.segment)
