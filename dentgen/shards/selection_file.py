"""A selection of a build's samples in a Parquet file: columns key, shard and rank, and the index that they are of."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from dentgen import storage
from dentgen.documents.index import DatasetIndex
from dentgen.errors import SpecError, StorageError
from dentgen.shards import layout
from dentgen.shards.index_reader import index_sha256
from dentgen.shards.parquet import UNREADABLE, table_of

SELECTION_SCHEMA: Final = pa.schema([("key", pa.string()), ("shard", pa.string()), ("rank", pa.int64())])
#: Key of the file's metadata.
_METADATA: Final = b"dentgen"
_INDEX: Final = "index_sha256"


@dataclass(frozen=True, slots=True)
class Selection:
    """Chosen samples of one version of a build.

    Attributes:
        index_sha256: sha256 of the version's index.
        keys: Keys of the samples, in the order in which they were chosen.
        shards: Names of their shards.
        how: By what they were chosen, as JSON values.
    """

    index_sha256: str
    keys: tuple[str, ...]
    shards: tuple[str, ...]
    how: Mapping[str, Any] = field(default_factory=dict)

    @property
    def by_shard(self) -> dict[str, frozenset[str]]:
        """Keys of every shard."""
        found: dict[str, set[str]] = {}
        for key, shard in zip(self.keys, self.shards, strict=True):
            found.setdefault(shard, set()).add(key)
        return {shard: frozenset(keys) for shard, keys in found.items()}


def write_selection(url: str, selection: Selection) -> None:
    """Write a selection.

    Args:
        url: File or URL.
        selection: The samples.

    Raises:
        StorageError: If it cannot be written.
    """
    metadata = json.dumps({_INDEX: selection.index_sha256, **selection.how}, sort_keys=True).encode()
    ranks = list(range(len(selection.keys)))
    columns = [list(selection.keys), list(selection.shards), ranks]
    schema = SELECTION_SCHEMA.with_metadata({_METADATA: metadata})
    table = pa.table([pa.array(values, each.type) for values, each in zip(columns, schema, strict=True)], schema=schema)
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    storage.overwrite(url, buffer.getvalue())


def read_selection(url: str) -> Selection:
    """Read a selection, in the order of its ranks.

    Raises:
        StorageError: If the file cannot be read, is no selection, or names a sample twice.
    """
    place = storage.without_secrets(url)
    try:
        table = table_of(storage.read_bytes(url), SELECTION_SCHEMA.names).select(SELECTION_SCHEMA.names)
        told = dict(json.loads((table.schema.metadata or {})[_METADATA]))
        sha256 = str(told.pop(_INDEX))
        rows = table.cast(SELECTION_SCHEMA).sort_by("rank")
    except (*UNREADABLE, KeyError, TypeError) as error:
        raise StorageError(
            file=place, found=str(error)[:200], expected="a selection that 'dentgen select' wrote"
        ) from error  # fmt: skip
    keys = tuple(rows["key"].to_pylist())
    if len(set(keys)) < len(keys):
        twice = Counter(keys).most_common(1)[0][0]
        raise StorageError(file=place, key=twice, found="the sample twice", expected="distinct samples")
    return Selection(sha256, keys, tuple(rows["shard"].to_pylist()), told)


def selection_of(url: str, out: str, index: DatasetIndex, name: str = layout.INDEX) -> Selection:
    """Read a selection of a build.

    Args:
        url: The selection.
        out: The build.
        index: The index of the version that is read.
        name: Its name in the build.

    Raises:
        SpecError: If the selection is of another build or version, or names a shard that the index does not.
        StorageError: If the selection or the index cannot be read.
    """
    selection, place = read_selection(url), storage.without_secrets(url)
    expected = index_sha256(out, name)
    if selection.index_sha256 != expected:
        raise SpecError(
            file=place, key=_INDEX, found=selection.index_sha256,
            expected=f"{expected}, of {storage.without_secrets(storage.join(out, name))}",
            advice="'dentgen select' makes one of this version",
        )  # fmt: skip
    if unknown := sorted({*selection.shards} - {shard.name for shard in index.shards}):
        raise SpecError(file=place, key="shard", found=unknown[0], expected="a shard that the index names")
    return selection
