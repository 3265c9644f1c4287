"""The ledger: one commit record per unit, written last and only if absent; with the shards, the truth about a build.

Holds the commit protocol. Refuses to know how samples are made.
"""

from __future__ import annotations

import hashlib
import logging
import time

from dentgen import storage
from dentgen.documents import DatasetIndex, LedgerRecord, Unit
from dentgen.errors import DeterminismError, StorageError, faults_of
from dentgen.shards.tar import json_bytes

_LOG = logging.getLogger(__name__)

SHARDS, LEDGER, ORPHANS = "shards", "ledger", "orphans"


def shard_url(out: str, unit: Unit) -> str:
    """Where a unit's shard goes."""
    return storage.join(out, SHARDS, f"{unit.name}.tar")


def ledger_url(out: str, unit_name: str) -> str:
    """Where a unit's commit record goes."""
    return storage.join(out, LEDGER, f"{unit_name}.json")


def committed_units(out: str) -> set[str]:
    """Names of the units that are done."""
    return {
        name.removesuffix(".json") for name in storage.list_names(storage.join(out, LEDGER)) if name.endswith(".json")
    }


def read_ledger(out: str, unit_name: str) -> LedgerRecord:
    """Commit record of a unit.

    Raises:
        StorageError: If it cannot be read.
    """
    url = ledger_url(out, unit_name)
    try:
        return LedgerRecord.model_validate_json(storage.read_bytes(url))
    except ValueError as error:
        raise StorageError(f"{url}: no ledger record: {faults_of(error)}") from error


def commit(out: str, unit: Unit, shard: bytes, record: LedgerRecord) -> bool:
    """Publish a unit: its shard, then its ledger record.

    The ledger is asked before anything is put. A shard without a record is what a kill leaves behind: equal bytes are
    adopted, differing ones are set aside under ``orphans/``.

    Args:
        out: The build.
        unit: The unit.
        shard: Tar bytes, empty if every record was rejected.
        record: Its commit record.

    Returns:
        True if this call committed the unit, False if it had been committed with the same bytes.

    Raises:
        DeterminismError: If the unit had been committed with other bytes, which stay as they are.
    """
    if storage.exists(ledger_url(out, unit.name)):
        _same_or_raise(out, unit, record)
        return False
    replaced = _put_shard(out, unit, shard) if shard else b""
    if record.timing is not None:
        record = record.model_copy(update={"timing": record.timing.model_copy(update={"committed": time.time()})})
    if not storage.put_if_absent(ledger_url(out, unit.name), json_bytes(record.model_dump(mode="json"))):
        _give_back(out, unit, replaced)
        _same_or_raise(out, unit, record)
        return False
    if shard:
        published = hashlib.sha256(storage.read_bytes(shard_url(out, unit))).hexdigest()
        if published != record.sha256:
            storage.overwrite(shard_url(out, unit), shard)  # the record is the truth, and its bytes are at hand
            raise DeterminismError(
                f"unit {unit.name}: its shard was replaced while it was committed: "
                f"found sha256 {published}, expected {record.sha256}"
            )
    return True


def restore(out: str, unit: Unit, shard: bytes, record: LedgerRecord) -> None:
    """Put a unit back as it was committed: only the very bytes that its record names, or the sealed index.

    Args:
        out: The build.
        unit: The unit.
        shard: Tar bytes, made again.
        record: Its commit record, made again.

    Raises:
        DeterminismError: If other bytes were committed; nothing is changed.
    """
    sealed = _sealed_sha256(out, unit)
    if sealed not in {None, record.sha256}:
        raise DeterminismError(
            f"unit {unit.name}: committed with sha256 {sealed!r} as the index says, a second attempt gave "
            f"{record.sha256!r}; nothing was changed"
        )
    if not storage.exists(ledger_url(out, unit.name)):
        commit(out, unit, shard, record)
        return
    try:
        _same_or_raise(out, unit, record)
    except (StorageError, DeterminismError):
        if sealed is None:
            raise  # nothing else tells which bytes are right
        storage.overwrite(ledger_url(out, unit.name), json_bytes(record.model_dump(mode="json")))
    if shard:
        storage.overwrite(shard_url(out, unit), shard)


def _sealed_sha256(out: str, unit: Unit) -> str | None:
    """What the index of a sealed build, or a version's copy, says of a unit; None if none is there and whole."""
    versions = storage.list_names(storage.join(out, "versions"))
    for place in ("index.json", *(f"versions/{version}/index.json" for version in reversed(versions))):
        content = storage.read_if_exists(storage.join(out, place))
        try:
            index = DatasetIndex.model_validate_json(content or b"")
        except ValueError:
            continue
        return {entry.name: entry.sha256 for entry in index.shards}.get(f"{unit.name}.tar", "")
    return None


def _same_or_raise(out: str, unit: Unit, record: LedgerRecord) -> None:
    committed = read_ledger(out, unit.name)
    if committed.sha256 != record.sha256:
        raise DeterminismError(
            f"unit {unit.name}: committed with sha256 {committed.sha256}, a second attempt gave {record.sha256}; "
            "the committed bytes were left alone"
        )


def _give_back(out: str, unit: Unit, replaced: bytes) -> None:
    """What looked like an orphan was another attempt's shard, committed meanwhile: its bytes are the truth."""
    if replaced and digest_of(replaced) == read_ledger(out, unit.name).sha256:
        storage.overwrite(shard_url(out, unit), replaced)


def _put_shard(out: str, unit: Unit, shard: bytes) -> bytes:
    """Publish a shard; returns the other bytes that it replaced, b"" if there were none."""
    url = shard_url(out, unit)
    if storage.put_if_absent(url, shard):
        return b""
    found = storage.read_bytes(url)
    if found == shard:
        return b""
    aside = storage.join(out, ORPHANS, f"{unit.name}-{hashlib.sha256(found).hexdigest()[:16]}.tar")
    _LOG.warning("unit %s: %s has no ledger record and other bytes; set aside as %s", unit.name, url, aside)
    storage.put_if_absent(aside, found)
    storage.overwrite(url, shard)
    return found


def digest_of(shard: bytes) -> str:
    """sha256 of a shard's bytes, "" for no shard."""
    return hashlib.sha256(shard).hexdigest() if shard else ""
