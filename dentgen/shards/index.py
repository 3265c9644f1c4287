"""Sealing: when no unit is pending, the ledger becomes an index, a table of samples and ``_SUCCESS``.

Readers use the index and never list folders. The ledger is streamed: memory does not grow with the number of samples.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from dentgen import storage
from dentgen.documents.index import DatasetIndex, ShardEntry
from dentgen.documents.ledger import LedgerRecord
from dentgen.documents.units import unit_name
from dentgen.errors import BuildError, StorageError
from dentgen.shards import layout
from dentgen.shards.index_reader import sealed_indexes
from dentgen.shards.key_counter import KeyCounter
from dentgen.shards.ledger import read_ledgers
from dentgen.shards.ledger_table import is_sound, names_of, read_records, write_ledger_table
from dentgen.shards.pending import pending_units
from dentgen.shards.plan import Plan
from dentgen.shards.plan_file import read_segment
from dentgen.shards.record_faults import record_faults
from dentgen.shards.sample_rows import write_samples
from dentgen.shards.seals import write_seal
from dentgen.shards.tar import json_bytes


class IndexBuilder:
    """Adds up commit records, in the order of the plan, to the index of a version."""

    def __init__(self, plan: Plan) -> None:
        """Start from nothing."""
        self._plan, self._written, self._rejected = plan, 0, 0
        self._shards: list[ShardEntry] = []
        self._ledger = hashlib.sha256()

    def add(self, record: LedgerRecord) -> None:
        """Count a unit."""
        self._written += record.written
        self._rejected += record.rejected
        self._ledger.update(json_bytes(record.model_dump(mode="json", exclude={"timing"})))
        if record.shard:
            self._shards.append(
                ShardEntry(
                    name=record.shard,
                    bytes=record.bytes,
                    sha256=record.sha256,
                    samples=record.written,
                    source_sha256=record.source_sha256,
                    splits=Counter(sample.split for sample in record.samples if sample.status == "written"),
                )
            )

    @property
    def ledger_sha256(self) -> str:
        """Digest of the records that were added."""
        return self._ledger.hexdigest()

    def index(self, samples_sha256: str) -> DatasetIndex:
        """The index of what was added, beside a table of samples."""
        return DatasetIndex(
            version=self._plan.segment,
            spec_digest=self._plan.spec_digest,
            bundle_digest=self._plan.bundle_digest,
            planned=self._plan.planned,
            written=self._written,
            rejected=self._rejected,
            plan_sha256=self._plan.digest(),
            ledger_sha256=self.ledger_sha256,
            samples_sha256=samples_sha256,
            shards=tuple(self._shards),
        )


def seal(out: str, plan: Plan, *, again: bool = False, tick: str = "") -> DatasetIndex:
    """Write a version and make it the latest, without describing it; arguments and errors as ``write_version``."""
    with tempfile.TemporaryDirectory() as folder:
        index = write_version(out, plan, folder, again=again)
        write_seal(out, plan, index, tick)
        publish_table(out, folder)
    publish_index(out, index)
    return index


def write_version(out: str, plan: Plan, folder: str, *, again: bool = False) -> DatasetIndex:
    """Write a version's index, its copy of the newest plan segment, and the table of the records that it added.

    Nothing that a reader of an earlier version reads is touched.

    Args:
        out: The build.
        plan: Its plan.
        folder: Local folder that takes the table of samples.
        again: Every unit was verified, so what was sealed before may be replaced.

    Raises:
        BuildError: If a unit is not done, a record does not fit the plan, a key occurs twice, a shard is missing or
            truncated; then nothing is sealed.
    """
    require_all_done(out, plan)
    builder, keys = IndexBuilder(plan), KeyCounter()
    table = Path(folder) / layout.SAMPLES
    write_samples(table, plan, _counted(_fitting_records(out, plan, again=again), builder, keys))
    _require_unique(out, plan, keys, again=again)
    with table.open("rb") as opened:
        index = builder.index(hashlib.file_digest(opened, "sha256").hexdigest())
    if not again:
        _require_as_sealed(out, index)
    _require_shards(out, index)
    _write_copies(out, plan, index)
    return index


def publish_table(out: str, folder: str) -> None:
    """Make the table of samples in a local folder the latest."""
    storage.overwrite_from(storage.join(out, layout.SAMPLES), Path(folder) / layout.SAMPLES)


def publish_index(out: str, index: DatasetIndex) -> None:
    """Make an index the latest: from here on, readers see its version."""
    storage.overwrite(storage.join(out, layout.INDEX), _content(index))


def _content(index: DatasetIndex) -> bytes:
    return json_bytes(index.model_dump(mode="json"))


def _write_copies(out: str, plan: Plan, index: DatasetIndex) -> None:
    _publish_copy(storage.join(out, layout.versioned(index.version, layout.INDEX)), _content(index))
    if not plan_copy_is_sound(out, index.version, plan):
        for name, copied in (
            (layout.plan_head(plan.segment), layout.PLAN_COPY), (layout.plan_units(plan.segment), layout.UNITS_COPY)
        ):  # fmt: skip
            content = storage.read_if_exists(storage.join(out, name)) or b""
            _publish_copy(storage.join(out, layout.versioned(index.version, copied)), content)
    _write_ledger_copy(out, plan)


def _write_ledger_copy(out: str, plan: Plan) -> None:
    """The table of the records that were added; a sound one is left alone, because a repair changes their times."""
    if is_sound(out, plan.segment):
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / layout.LEDGER_COPY
        write_ledger_table(file, read_ledgers(out, names_of(plan.newest_units)))
        storage.overwrite_from(storage.join(out, layout.versioned(plan.segment, layout.LEDGER_COPY)), file)


def plan_copy_is_sound(out: str, version: int, plan: Plan) -> bool:
    """Whether a version's copy of the newest plan segment can be read and decides the same."""
    try:
        copied = read_segment(out, version, copy=True)
        return copied.digest() == plan.digest() and copied.head.spec.digest() == copied.head.spec_digest
    except (BuildError, StorageError):
        return False


def _require_as_sealed(out: str, index: DatasetIndex) -> None:
    """Refuse to seal a ledger that is not the one that was sealed before: its witnesses would be lost."""
    sealed = {found.ledger_sha256 for found in sealed_indexes(out, index.version) if found.ledger_sha256}
    if sealed and index.ledger_sha256 not in sealed:
        raise forged_ledger(out, index.ledger_sha256, sealed)


def require_sealed_ledger(out: str, plan: Plan) -> None:
    """Require that the commit records are those that the plan's version was sealed with.

    Raises:
        BuildError: If they are not.
        StorageError: If a record cannot be read.
    """
    builder = IndexBuilder(plan)
    for record in read_ledgers(out, names_of(plan.units)):
        builder.add(record)
    _require_as_sealed(out, builder.index(""))


def forged_ledger(out: str, found: str, sealed: Iterable[str]) -> BuildError:
    """The error of a ledger that is not the one that was sealed."""
    return BuildError(
        "the ledger was changed since the build was sealed",
        file=storage.without_secrets(storage.join(out, layout.LEDGER)),
        found=found,
        expected=" or ".join(sorted(sealed)),
        advice=f"'dentgen repair {storage.without_secrets(out)}' finds what is right",
    )


def _publish_copy(url: str, content: bytes) -> None:
    """Write a version's copy; one that differs was damaged, or is of a seal that was cut off and that this repeats."""
    if not storage.put_if_absent(url, content) and storage.read_bytes(url) != content:
        storage.overwrite(url, content)


def _fitting_records(out: str, plan: Plan, *, again: bool) -> Iterator[LedgerRecord]:
    """Commit records in the order of the plan.

    Raises:
        BuildError: If one is not the record of its unit.
    """
    for unit, record in zip(plan.units, read_records(out, plan, 0 if again else plan.segment), strict=True):
        for fault in record_faults(plan, unit, record):
            raise BuildError(
                file=storage.without_secrets(storage.join(out, layout.ledger(unit.name))),
                key=fault.key,
                found=fault.found,
                expected=fault.expected,
                advice=f"'dentgen repair {storage.without_secrets(out)}' makes the record again",
            )
        yield record


def _require_unique(out: str, plan: Plan, keys: KeyCounter, *, again: bool) -> None:
    repeated = keys.repeated(read_records(out, plan, 0 if again else plan.segment))
    if repeated:
        key, count = next(iter(repeated.items()))
        raise BuildError(
            file=storage.without_secrets(storage.join(out, layout.LEDGER)), key=key, found=f"{count} samples",
            expected="one sample of a key",
        )  # fmt: skip


def mark_success(out: str) -> None:
    """Mark the build as complete; the last file that is written."""
    storage.put_if_absent(storage.join(out, layout.SUCCESS), b"")


def _counted(records: Iterable[LedgerRecord], builder: IndexBuilder, keys: KeyCounter) -> Iterator[LedgerRecord]:
    for record in records:
        builder.add(record)
        keys.add(record)
        yield record


def require_all_done(out: str, plan: Plan) -> None:
    """Require that every unit is committed.

    Raises:
        BuildError: If one is not.
    """
    missing = pending_units(out, plan)
    if len(missing):
        raise BuildError(
            file=storage.without_secrets(out),
            found=f"{len(missing)} pending units, first {unit_name(int(missing[0]))}",
            expected=f"all {len(plan.units)} done",
        )


def _require_shards(out: str, index: DatasetIndex) -> None:
    """Find missing or truncated shards by one listing; ``verify`` reads every byte."""
    folder = storage.join(out, layout.SHARDS)
    files = storage.list_files(folder) if storage.exists(folder) else []
    sizes = {storage.name_of(file.url): file.size for file in files}
    wrong = [shard for shard in index.shards if sizes.get(shard.name) != shard.bytes]
    if wrong:
        first = wrong[0]
        found = f"{sizes[first.name]} bytes" if first.name in sizes else "no file"
        raise BuildError(
            f"{len(wrong)} of {len(index.shards)} committed shards are missing or truncated",
            file=storage.without_secrets(storage.join(folder, first.name)),
            found=found,
            expected=f"{first.bytes} bytes",
            advice=f"'dentgen repair {storage.without_secrets(out)}' generates them again",
        )
