"""Garbage: what lies in a finished build and no ledger names. Lists; removes only when told to.

Refuses to know why it is there.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from dentgen import storage
from dentgen.errors import BuildError
from dentgen.shards.index import INDEX, SAMPLES, SUCCESS, VERSIONS
from dentgen.shards.lease import LEASE
from dentgen.shards.ledger import LEDGER, SHARDS, committed_units, read_ledger
from dentgen.shards.plan import Plan
from dentgen.storage.files import StoredFile

#: What stands in a sealed build beside plan, shards and ledger; the lease only while somebody builds or repairs.
SEALED: Final = (LEASE, INDEX, SAMPLES, SUCCESS, "README.md", "croissant.json", "report.html", "contact_sheet.png")


def stray_files(out: str, plan: Plan, plan_files: Collection[str]) -> list[StoredFile]:
    """Files under a finished build that neither plan nor ledger nor seal accounts for.

    Args:
        out: The build.
        plan: Its plan.
        plan_files: Names of the plan's own files, relative to the build.

    Raises:
        BuildError: If units are pending: what looks like a stray may be a unit about to be committed.
    """
    done = committed_units(out)
    pending = [unit.name for unit in plan.units if unit.name not in done]
    if pending:
        raise BuildError(f"{out}: {len(pending)} units are not done, first {pending[0]}; finish the build first")
    shards = {f"{SHARDS}/{record.shard}" for unit in plan.units if (record := read_ledger(out, unit.name)).shard}
    versioned = {f"{VERSIONS}/{plan.segment}/{name}" for name in (INDEX, "README.md", "croissant.json")}
    ledger = {f"{LEDGER}/{unit.name}.json" for unit in plan.units}
    known = {*plan_files, *shards, *versioned, *ledger, *SEALED}
    files = storage.list_files(out)
    return sorted((f for f in files if storage.relative_name(out, f.url) not in known), key=lambda file: file.url)


def remove_files(files: Collection[StoredFile]) -> None:
    """Remove files, each by its name.

    Raises:
        StorageError: If one cannot be removed.
    """
    for file in files:
        storage.remove(file.url)
