"""The commit records that a version added, in one Parquet file: a million small files are read one by one no more.

Single records stay the truth about a build, and nothing removes them; the table only spares whoever reads them all.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from dentgen import storage
from dentgen.documents.ledger import LedgerRecord
from dentgen.documents.units import unit_name
from dentgen.errors import StorageError
from dentgen.shards import layout
from dentgen.shards.ledger import read_ledgers
from dentgen.shards.parquet import UNREADABLE
from dentgen.shards.plan import Plan
from dentgen.shards.seals import read_seal
from dentgen.shards.unit_table import UnitTable

_LOG = logging.getLogger(__name__)

_SCHEMA: Final = pa.schema([("unit", pa.int64()), ("record", pa.binary())])
#: Records in memory while the table is written or read: one may be tens of kilobytes.
_CHUNK: Final = 256
_BUFFER_BYTES: Final = 2**20


def write_ledger_table(file: Path, records: Iterable[LedgerRecord]) -> None:
    """Write records in their order; equal records give equal bytes with one version of pyarrow."""
    remaining = iter(records)
    with pq.ParquetWriter(file, _SCHEMA, compression="zstd", write_page_checksum=True) as writer:
        while chunk := list(islice(remaining, _CHUNK)):
            rows = [{"unit": record.unit, "record": record.model_dump_json().encode()} for record in chunk]
            writer.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA))


def read_ledger_table(url: str) -> Iterator[LedgerRecord]:
    """Records of a table, a bounded number at a time.

    Raises:
        StorageError: If it cannot be read.
    """
    place = storage.without_secrets(url)
    with storage.open_read(url) as handle:
        try:
            table = pq.ParquetFile(handle, buffer_size=_BUFFER_BYTES, page_checksum_verification=True)
            if not table.schema_arrow.equals(_SCHEMA):
                raise pa.ArrowInvalid(f"found columns {table.schema_arrow.names}")
            for batch in table.iter_batches(_CHUNK, use_threads=False):
                yield from map(LedgerRecord.model_validate_json, batch["record"].to_pylist())
        except UNREADABLE as error:
            raise StorageError(file=place, found=str(error), expected="a table of commit records") from error


def read_records(out: str, plan: Plan, singly: int | None = None) -> Iterator[LedgerRecord]:
    """Commit records of all units of a plan in order: from the tables of sealed versions, the others one by one.

    Args:
        out: The build.
        plan: Its plan.
        singly: Segment from which on records are read one by one in any case; None: no segment.

    Raises:
        StorageError: If one cannot be read.
    """
    for segment, units in segments_of(plan):
        records = None if singly is not None and segment >= singly else _sealed_records(out, segment, units)
        yield from read_ledgers(out, names_of(units)) if records is None else records


def segments_of(plan: Plan) -> Iterator[tuple[int, UnitTable]]:
    """Every segment of a plan with those of its units that were not retired."""
    for segment, (first, stop) in enumerate(zip(plan.firsts, (*plan.firsts[1:], 2**63 - 1), strict=True)):
        yield segment, plan.units.between(first, stop)


def names_of(units: UnitTable) -> Iterator[str]:
    """Names of units, without making the units."""
    return map(unit_name, units.numbers())


def is_sound(out: str, segment: int) -> bool:
    """Whether a version's table of commit records is the one that it was sealed with."""
    seal = read_seal(out, segment)
    try:
        url = storage.join(out, layout.versioned(segment, layout.LEDGER_COPY))
        return seal is not None and storage.sha256_of(url) == seal.ledger_sha256
    except StorageError:
        return False


def _sealed_records(out: str, segment: int, units: UnitTable) -> Iterator[LedgerRecord] | None:
    """Records of a sealed version's units, None without a sound table."""
    if read_seal(out, segment) is None:
        return None
    if not is_sound(out, segment):
        _LOG.warning("%s: the table of commit records of version %d is missing or damaged", out, segment)
        return None
    url = storage.join(out, layout.versioned(segment, layout.LEDGER_COPY))
    return (record for record in read_ledger_table(url) if units.number_of(record.unit) is not None)
