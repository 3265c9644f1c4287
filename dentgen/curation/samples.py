"""The written samples of a finished build as one Arrow table."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from dentgen.shards.index_reader import finished_index
from dentgen.shards.sample_table import column_names, stream_samples


def written_samples(out: str, columns: Sequence[str]) -> pa.Table:
    """Columns of the written samples, in the order of the build.

    A column that the build's table lacks, because an earlier dentgen made it, is null.

    Args:
        out: The build.
        columns: Columns beside ``key`` and ``shard``, which are always there.

    Raises:
        BuildError: If the build is not finished.
        StorageError: If index or table cannot be read.
    """
    index = finished_index(out)
    wanted = ["key", "shard", *columns]
    known = column_names(out)
    present = [name for name in wanted if name in known]
    batches = [batch.written.select(present) for batch in stream_samples(out, present)]
    table = (
        pa.Table.from_batches(batches) if batches else pa.table({name: pa.array([], pa.string()) for name in present})
    )
    for name in wanted:
        if name not in present:
            table = table.append_column(name, pa.nulls(len(table)))
    # A table that is newer than the index has samples of shards that the index does not name yet.
    listed = pa.array([shard.name for shard in index.shards], pa.string())
    return table.filter(pc.is_in(table["shard"], value_set=listed)).select(wanted)


def texts(table: pa.Table, column: str) -> list[str]:
    """A column of strings; null counts as empty."""
    return [value or "" for value in table[column].to_pylist()]
