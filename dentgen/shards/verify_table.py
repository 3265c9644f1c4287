"""Verification of the table of samples against the ledger, unit by unit while commit records come in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from dentgen import storage
from dentgen.documents.ledger import LedgerRecord
from dentgen.documents.units import Unit
from dentgen.errors import StorageError
from dentgen.shards import layout
from dentgen.shards.parquet import UNREADABLE
from dentgen.shards.plan import Plan
from dentgen.shards.problem import Problem
from dentgen.shards.sample_rows import ADDED_LATER, SAMPLE_SCHEMA, sample_rows

_BATCH_ROWS: Final = 4096
_BUFFER_BYTES: Final = 2**20


class TableCheck:
    """Compares every row and column of the table with what the ledger says.

    Attributes:
        digest: sha256 of the table, "" if it cannot be read.
    """

    def __init__(self, out: str, plan: Plan, sealed: frozenset[str]) -> None:
        """Open the table.

        Args:
            out: The build.
            plan: Its plan.
            sealed: sha256 of the table as indexes name it. If they name the table that is there, a row that disagrees
                is the ledger's fault.
        """
        self._plan, self._problem = plan, ""
        self._rows = _Rows(iter(()))
        self._is_sealed, self.digest = False, ""
        try:
            self.digest = storage.sha256_of(storage.join(out, layout.SAMPLES))
            self._is_sealed = self.digest in sealed
            self._rows = _Rows(_batches(storage.join(out, layout.SAMPLES)))
        except (StorageError, *UNREADABLE) as error:
            self._problem = f"cannot be read: {error}"
        else:
            if sealed and not self._is_sealed:
                self._problem = f"found sha256 {self.digest}, expected {' or '.join(sorted(sealed))}, as the index says"

    def unit_problems(self, unit: Unit, record: LedgerRecord | None) -> Iterator[Problem]:
        """Compare the rows of the next unit; a damaged table is reported once, at the end."""
        count = unit.samples(self._plan.spec.sampling.variants)
        try:
            found = self._rows.take(count)
        except UNREADABLE as error:
            self._problem = self._problem or f"cannot be read: {error}"
            self._rows = _Rows(iter(()))
            return
        if record is None or (not self._is_sealed and self._problem):
            return
        if difference := _difference(found, _expected(self._plan, record)):
            if self._is_sealed:
                text = f"{difference}, as {layout.SAMPLES} says"
                yield Problem(layout.ledger(unit.name), text, unit.id)
            else:
                self._problem = f"unit {unit.name}: {difference}"

    def problems(self) -> Iterator[Problem]:
        """What is wrong with the table itself."""
        if not self._problem and self._rows.left():
            self._problem = "found more rows than the plan has samples"
        if self._problem:
            yield Problem(layout.SAMPLES, self._problem, derived=layout.SAMPLES)


class _Rows:
    """Rows of a stream of tables, taken a few at a time."""

    def __init__(self, batches: Iterator[pa.Table]) -> None:
        self._batches, self._rest = batches, pa.table({})

    def take(self, count: int) -> pa.Table:
        """The next rows; fewer at the end."""
        while self._rest.num_rows < count and (batch := next(self._batches, None)) is not None:
            self._rest = pa.concat_tables([self._rest, batch]) if self._rest.num_columns else batch
        taken, self._rest = self._rest.slice(0, count), self._rest.slice(count)
        return taken

    def left(self) -> bool:
        """Whether there are more rows."""
        return self.take(1).num_rows > 0


def _batches(url: str) -> Iterator[pa.Table]:
    """The table in parts; it may lack columns that an earlier dentgen did not know.

    Raises:
        StorageError: If the file cannot be opened; pyarrow's errors if it is no such table.
    """
    file = pq.ParquetFile(storage.open_read(url), buffer_size=_BUFFER_BYTES)
    schema = file.schema_arrow.remove_metadata()
    known = [each for each in SAMPLE_SCHEMA if each.name in schema.names or each.name not in ADDED_LATER]
    if not schema.equals(pa.schema(known)):
        missing = sorted({each.name for each in known} ^ set(schema.names)) or "other types"
        raise pa.ArrowInvalid(f"found columns that differ from those of a build in {missing}")
    return (pa.Table.from_batches([batch]) for batch in file.iter_batches(_BATCH_ROWS, use_threads=False))


def _expected(plan: Plan, record: LedgerRecord) -> pa.Table:
    return pa.Table.from_pylist(list(sample_rows(plan, [record])), schema=SAMPLE_SCHEMA)


def _difference(found: pa.Table, expected: pa.Table) -> str:
    """The first row and column that differ, "" if none does."""
    found = found.replace_schema_metadata(None)
    expected = expected.select(found.column_names or expected.column_names)
    if found.equals(expected):
        return ""
    for row, (ours, theirs) in enumerate(zip(found.to_pylist(), expected.to_pylist(), strict=False)):
        for name in found.column_names:
            if ours[name] != theirs[name]:
                return f"row {row} ({theirs['key']}): the table has {name} {ours[name]!r}, the ledger {theirs[name]!r}"
    return f"the table has {found.num_rows} rows, the ledger {expected.num_rows}"
