"""Units to generate again: under what they give the same bytes, and which bytes those are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from dentgen import storage
from dentgen.documents.units import Unit
from dentgen.errors import SpecChangedError, StorageError
from dentgen.models.bundle import bundle_digest
from dentgen.pipeline.environment import environment_difference
from dentgen.shards import layout
from dentgen.shards.index_reader import sealed_indexes
from dentgen.shards.ledger import digest_of, read_ledger, shard_url
from dentgen.shards.plan import Plan

#: Generates units and puts them back where one of the claims on their bytes fits.
Make = Callable[[Sequence[Unit], dict[int, set[str]]], None]


def unpinned(unit: Unit) -> Unit:
    """The unit without its shard's tag and content: the bytes that come out decide, so the source may be a copy."""
    return replace(unit, shard_tag="", shard_content="")


def sealed_claims(out: str, version: int) -> list[dict[str, str]]:
    """What the indexes of a version say: the sha256 of every shard, by its name."""
    return [{entry.name: entry.sha256 for entry in index.shards} for index in sealed_indexes(out, version)]


def claims_on(out: str, unit: Unit, sealed: Sequence[Mapping[str, str]]) -> set[str]:
    """What the unit's own record and the sealed indexes say of its sha256, "" for no shard; else its shard itself."""
    claims = {entries.get(layout.shard_file(unit.name), "") for entries in sealed}
    with suppress(StorageError):  # missing or damaged: no witness
        record = read_ledger(out, unit.name)
        claims |= {record.sha256} if record.unit == unit.id else set()
    if not claims and (shard := storage.read_if_exists(shard_url(out, unit.name))):
        claims = {digest_of(shard)}  # nothing else tells which bytes are right
    return claims


def require_environment(plan: Plan) -> None:
    """Require that this environment and bundle give the bytes that a plan's did.

    Raises:
        SpecChangedError: If they would give others.
    """
    difference = environment_difference(plan)
    digest = bundle_digest(plan.spec.model)
    if digest != plan.bundle_digest:
        difference.append(f"bundle digest: {plan.bundle_digest} -> {digest}")
    if difference:
        raise SpecChangedError("other bytes would come out here than were committed:\n  " + "\n  ".join(difference))
