"""Garbage collection: files of a finished build that neither its plan nor its ledger nor its seal accounts for."""

from __future__ import annotations

from collections.abc import Collection

from dentgen import storage
from dentgen.documents.units import unit_name
from dentgen.errors import BuildError
from dentgen.shards import layout
from dentgen.shards.index_reader import sealed_indexes
from dentgen.shards.ledger_table import read_records
from dentgen.shards.pending import pending_units
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
    pending = pending_units(out, plan)
    if len(pending):
        raise BuildError(
            file=storage.without_secrets(out), expected="a finished build",
            found=f"{len(pending)} pending units, first {unit_name(int(pending[0]))}",
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
    names = {*layout.TOP}
    for folder in (layout.TICKS, layout.REVIEW):
        listed = storage.list_names(storage.join(out, folder))
        names |= {f"{folder}/{name}" for name in listed if not name.startswith(".")}
    for segment in range(plan.segment + 1):
        names |= {layout.plan_head(segment), layout.plan_units(segment), layout.source_index(segment)}
        names |= {layout.versioned(segment, name) for name in layout.VERSIONED}
        names |= {f"{layout.SHARDS}/{entry.name}" for index in sealed_indexes(out, segment) for entry in index.shards}
    for name in map(unit_name, plan.retired):  # earlier versions have them
        names |= {layout.ledger(name), layout.shard(name)}
    for unit, record in zip(plan.units, read_records(out, plan, 0), strict=True):
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
    return layout.is_own(name, plan.total_units, plan.segment)
