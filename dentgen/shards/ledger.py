"""The ledger and the commit protocol: one commit record per unit, written last and only if absent.

Shards and ledger together are the truth about a build; everything else is derived from them.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Final

from dentgen import storage
from dentgen.documents.ledger import LedgerRecord
from dentgen.documents.units import unit_name
from dentgen.errors import DeterminismError, StorageError, faults_of
from dentgen.shards import layout
from dentgen.shards.tar import json_bytes

_LOG = logging.getLogger(__name__)

_THREADS: Final = 16
#: Units whose records are asked for by name where a listing shows none.
_ASKED_BY_NAME: Final = 16
#: Records read ahead of whoever iterates over a ledger.
_READ_AHEAD: Final = 64


@dataclass(frozen=True, slots=True)
class UnitResult:
    """A generated unit.

    Attributes:
        shard: Its tar, empty if every record was rejected.
        record: Its commit record.
        encode_seconds: Time in which its samples were encoded and archived.
    """

    shard: bytes
    record: LedgerRecord
    encode_seconds: float = 0.0


def shard_url(out: str, unit: str) -> str:
    """URL of a unit's shard."""
    return storage.join(out, layout.shard(unit))


def ledger_url(out: str, unit: str) -> str:
    """URL of a unit's commit record."""
    return storage.join(out, layout.ledger(unit))


def committed_units(out: str) -> set[str]:
    """Names of the units that are done."""
    names = storage.list_names(storage.join(out, layout.LEDGER))
    return {name.removesuffix(".json") for name in names if name.endswith(".json")}


def read_ledger(out: str, unit: str) -> LedgerRecord:
    """Commit record of a unit, by its name.

    Raises:
        StorageError: If it cannot be read.
    """
    url = ledger_url(out, unit)
    try:
        return LedgerRecord.model_validate_json(storage.read_bytes(url))
    except ValueError as error:
        raise StorageError(f"not a ledger record: {faults_of(error)}", file=url) from error


def read_ledgers(out: str, units: Iterable[str]) -> Iterator[LedgerRecord]:
    """Commit records of units in order, read a bounded number ahead; no more than that is ever in memory.

    Raises:
        StorageError: If one cannot be read.
    """
    remaining = iter(units)
    with ThreadPoolExecutor(_THREADS) as pool:
        while chunk := list(islice(remaining, _READ_AHEAD)):
            yield from pool.map(lambda unit: read_ledger(out, unit), chunk)


def commit(out: str, shard: bytes, record: LedgerRecord) -> bool:
    """Publish a unit: its shard, then its ledger record.

    The ledger is checked before anything is written. A shard without a record is the orphan of a killed attempt: equal
    bytes are adopted, other bytes are set aside under ``orphans/``.

    Args:
        out: The build.
        shard: Tar bytes, empty if every record was rejected.
        record: The commit record; it names the unit.

    Returns:
        True if this call committed the unit, False if it had been committed with the same bytes.

    Raises:
        DeterminismError: If the unit had been committed with other bytes, which stay as they are.
    """
    unit = unit_name(record.unit)
    if storage.exists(ledger_url(out, unit)):
        _require_same(out, record)
        return False
    replaced, tag = _put_shard(out, unit, shard) if shard else (b"", "")
    if record.timing is not None:
        record = record.model_copy(update={"timing": record.timing.model_copy(update={"committed": time.time()})})
    if not storage.put_if_absent(ledger_url(out, unit), json_bytes(record.model_dump(mode="json"))):
        _put_back(out, unit, replaced)
        _require_same(out, record)
        return False
    if shard:
        _require_published(out, unit, shard, record, tag)
    return True


def restore(out: str, shard: bytes, record: LedgerRecord, claims: Collection[str]) -> None:
    """Put a unit back as it was committed: its shard first, then its record; what is right already is left alone.

    Args:
        out: The build.
        shard: Tar bytes, generated again.
        record: The commit record, made again.
        claims: What ledger and indexes say of the unit's sha256, "" for no shard. Whatever was forged, bytes that were
            generated again and that one of them names are those that were committed. Empty: nothing says anything.

    Raises:
        DeterminismError: If none of them names these bytes; nothing is changed.
    """
    unit = unit_name(record.unit)
    if claims and record.sha256 not in claims:
        raise _differs(unit, record.sha256, f"{' or '.join(repr(claim) for claim in sorted(claims))}, as committed")
    if shard and _digest_at(shard_url(out, unit)) != record.sha256:
        storage.overwrite(shard_url(out, unit), shard)
    if not _says(out, record):
        storage.overwrite(ledger_url(out, unit), json_bytes(record.model_dump(mode="json")))


def same_but_timing(one: LedgerRecord, other: LedgerRecord) -> bool:
    """Whether two records of a unit say the same; when and where it was generated does not matter."""
    return one.model_copy(update={"timing": None}) == other.model_copy(update={"timing": None})


def anything_written(out: str) -> bool:
    """Whether a unit with a shard was committed; a record that cannot be read counts as one.

    A store may list late, so that where the listing shows nothing, the index and the first units are asked for by name:
    a wrong no would lose a plan.
    """
    try:
        return _has_shard(out, sorted(committed_units(out))) or _has_shard(out, _present(out))
    except StorageError:
        return True


def _has_shard(out: str, units: Iterable[str]) -> bool:
    return any(record.shard for record in read_ledgers(out, units))


def _present(out: str) -> Iterator[str]:
    """Units that are there by name, among the first ones; all of them if the build was sealed."""
    sealed = storage.exists(storage.join(out, layout.INDEX))
    names = (unit_name(number) for number in range(_ASKED_BY_NAME))
    return (name for name in names if sealed or storage.exists(ledger_url(out, name)))


def first_reasons(out: str, units: Iterable[str], most: int = 3) -> list[str]:
    """The first different reasons for which samples were rejected."""
    reasons: dict[str, None] = {}
    for record in read_ledgers(out, units):
        reasons |= {sample.reason: None for sample in record.samples if sample.status == "rejected"}
        if len(reasons) >= most:
            break
    return list(reasons)[:most]


def digest_of(shard: bytes) -> str:
    """sha256 of a shard's bytes, "" for no shard."""
    return hashlib.sha256(shard).hexdigest() if shard else ""


def _digest_at(url: str) -> str:
    return digest_of(storage.read_if_exists(url) or b"")


def _says(out: str, record: LedgerRecord) -> bool:
    try:
        return same_but_timing(read_ledger(out, unit_name(record.unit)), record)
    except StorageError:
        return False


def _require_same(out: str, record: LedgerRecord) -> None:
    unit = unit_name(record.unit)
    committed = read_ledger(out, unit)
    if committed.sha256 != record.sha256:
        raise _differs(unit, record.sha256, f"{committed.sha256!r}, as committed")


def _require_published(out: str, unit: str, shard: bytes, record: LedgerRecord, tag: str) -> None:
    """A concurrent attempt may have overwritten the shard: the record is the truth, and its bytes are at hand.

    Such an attempt found our shard before our record, and put another file in its place: another inode, another object.
    ``tag`` comes from the put that created ours, not from a later look, so a replacement at any time since then shows.
    As long as the tag holds, the name leads to our bytes, and there is nothing to read. Whoever replaces them after
    this look finds our record when it tries to put its own, and puts them back. Where we did not create the shard, or
    the storage has no tags, it is read.
    """
    url = shard_url(out, unit)
    if tag and storage.tag_of(url) == tag:
        return
    published = digest_of(storage.read_bytes(url))
    if published != record.sha256:
        storage.overwrite(url, shard)
        raise DeterminismError(
            "its shard was replaced while it was committed",
            key=f"unit {unit}", found=f"sha256 {published!r}", expected=record.sha256,
        )  # fmt: skip


def _differs(unit: str, found: str, expected: str) -> DeterminismError:
    return DeterminismError(
        "two attempts gave different bytes", key=f"unit {unit}", found=f"sha256 {found!r} now", expected=expected,
        advice="the committed bytes were left alone",
    )  # fmt: skip


def _put_back(out: str, unit: str, replaced: bytes) -> None:
    """Restore the shard we overwrote if a concurrent attempt committed it."""
    if replaced and digest_of(replaced) == read_ledger(out, unit).sha256:
        storage.overwrite(shard_url(out, unit), replaced)


def _put_shard(out: str, unit: str, shard: bytes) -> tuple[bytes, str]:
    """Publish a shard.

    Returns:
        The other bytes that it replaced, b"" if there were none, and the tag of the file if this call created it.
    """
    url = shard_url(out, unit)
    tag = storage.put_tagged(url, shard)
    if tag is not None:
        return b"", tag
    found = storage.read_bytes(url)
    if found == shard:
        return b"", ""
    aside = storage.join(out, layout.orphan(unit, digest_of(found)))
    _LOG.warning("unit %s: %s has no ledger record and other bytes; set aside as %s", unit, url, aside)
    storage.put_if_absent(aside, found)
    storage.overwrite(url, shard)
    return found, ""
