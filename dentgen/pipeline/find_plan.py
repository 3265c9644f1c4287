"""The plan that a build was made with, whatever happened to its file: checked against indexes and its sealed copy."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from dentgen import storage
from dentgen.errors import BuildError, StorageError
from dentgen.shards import layout
from dentgen.shards.index import sealed_indexes, sealed_versions
from dentgen.shards.plan import Plan
from dentgen.shards.plan_file import read_plan
from dentgen.shards.problem import Problem


@dataclass(frozen=True, slots=True)
class FoundPlan:
    """The plan to go by.

    Attributes:
        plan: The plan.
        problems: What is wrong with the stored one.
        copy: Folder of the sealed copy that the plan was read from instead, "" if it was read from its place.
    """

    plan: Plan
    problems: tuple[Problem, ...] = ()
    copy: str = ""


def find_plan(out: str) -> FoundPlan:
    """Read the plan of a build; where it is damaged or was changed, the copy that was sealed with the build.

    Raises:
        BuildError: If there is no plan, or it is damaged and has no copy.
    """
    faults = _faults(out, layout.plan_head(), layout.plan_units())
    if not faults:
        return FoundPlan(read_plan(out))
    problems = tuple(Problem(layout.plan_head(), fault) for fault in faults)
    for version in sealed_versions(out):
        names = _copy_names(version)
        if not _faults(out, *names):
            return FoundPlan(read_plan(out, *names), problems, f"{layout.VERSIONS}/{version}")
    return FoundPlan(read_plan(out), problems)


def put_back(out: str, found: FoundPlan) -> None:
    """Replace a damaged plan by its sealed copy: units first, then the head, which names them."""
    copies = ((layout.plan_units(), layout.UNITS_COPY), (layout.plan_head(), layout.PLAN_COPY))
    for name, copied in copies:
        storage.overwrite(storage.join(out, name), storage.read_bytes(storage.join(out, found.copy, copied)))


def _faults(out: str, head_name: str, units_name: str) -> list[str]:
    """What is wrong with a plan: it cannot be read, disagrees with itself, or is not the one that was sealed."""
    try:
        plan = read_plan(out, head_name, units_name)
    except (BuildError, StorageError) as error:
        return [str(error)]
    faults = []
    if (digest := plan.spec.digest()) != plan.spec_digest:
        faults.append(f"found spec_digest {plan.spec_digest}, expected {digest}, the digest of its spec")
    sealed = {index.plan_sha256 for index in sealed_indexes(out)}
    if sealed and plan.digest() not in sealed | _copies(out):
        faults.append(f"found digest {plan.digest()}, expected {' or '.join(sorted(sealed))}, as the index says")
    return faults


def _copies(out: str) -> set[str]:
    """Digests of the copies of the plan that were sealed with versions."""
    digests: set[str] = set()
    for version in sealed_versions(out):
        with suppress(BuildError, StorageError):  # missing or damaged: no witness
            digests.add(read_plan(out, *_copy_names(version)).digest())
    return digests


def _copy_names(version: int) -> tuple[str, str]:
    return layout.versioned(version, layout.PLAN_COPY), layout.versioned(version, layout.UNITS_COPY)
