"""Listing, indexing and reading of a source: a folder of WebDataset tars or Parquet files, or of loose files."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Final, Literal

from dentgen import storage
from dentgen.conditions.readers.folder import index_folder, loose_files, read_folder
from dentgen.conditions.readers.parquet import index_parquet, read_parquet
from dentgen.conditions.readers.raw import (
    EVERYTHING,
    ConditionShard,
    RawRecord,
    RecordRange,
    ShardIndex,
    ShardKind,
    printable,
)
from dentgen.conditions.readers.tar import index_tar, read_tar
from dentgen.errors import ConditionError, RefusedFileError, StorageError

_LOG = logging.getLogger(__name__)

SourceFormat = Literal["auto", "webdataset", "parquet", "folder"]

_KINDS: Final[tuple[tuple[str, ShardKind, SourceFormat], ...]] = (
    (".tar", "tar", "webdataset"),
    # compressed tars cannot be indexed; listing them reports them as damaged instead of ignoring them
    *((suffix, "tar", "webdataset") for suffix in (".tar.gz", ".tgz", ".tar.zst", ".tar.xz", ".tar.bz2")),
    (".parquet", "parquet", "parquet"),
)


def list_shards(source: str, source_format: SourceFormat = "auto") -> list[ConditionShard]:
    """List the condition shards of a source.

    Args:
        source: Path or URL of a folder or of one shard.
        source_format: Format to look for; ``auto`` takes shards, or loose files where there are none.

    Returns:
        Shards sorted by name, whatever order the storage lists them in.

    Raises:
        ConditionError: If no shard and no loose record is found.
        StorageError: If the source cannot be listed.
    """
    files = storage.list_files(source)
    shards = [
        ConditionShard(printable(storage.relative_name(source, file.url)), file.url, kind, file.size, file.tag)
        for suffix, kind, wanted in _KINDS
        for file in files
        if source_format in {"auto", wanted} and file.url.lower().endswith(suffix)
    ]
    loose = loose_files(files)
    if not shards and loose and source_format in {"auto", "folder"}:
        tag = "/".join(sorted(file.tag for file in loose))
        shards = [ConditionShard(".", source, "folder", sum(file.size for file in loose), tag, tuple(loose))]
    if not shards:
        raise ConditionError(
            storage.without_secrets(source),
            f"{len(files)} files, none of them a condition shard of format {source_format!r}",
            "*.tar or *.parquet shards, or files named KEY.seg.png, KEY.light.png, ...",
        )
    others = len(files) - (len(loose) if shards[0].kind == "folder" else len(shards))
    if others:
        _LOG.info("%s: ignoring %d files that are not condition shards", storage.without_secrets(source), others)
    return sorted(shards, key=lambda shard: shard.name)


def index_shard(shard: ConditionShard, *, with_metadata: bool) -> ShardIndex:
    """Index the records of a shard.

    Args:
        shard: The shard.
        with_metadata: Also read the records' splits and attributes.

    Returns:
        The index; for a damaged shard, or one to which access is denied, with ``problem`` set instead of an exception.

    Raises:
        StorageError: If the storage fails, which may be temporary and so does not count as damage.
    """
    try:
        match shard.kind:
            case "tar":
                return index_tar(shard, with_metadata=with_metadata)
            case "parquet":
                return index_parquet(shard, with_metadata=with_metadata)
            case "folder":
                return index_folder(shard, with_metadata=with_metadata)
    except OSError as error:
        raise StorageError(f"cannot be read: {error}", file=shard.place) from error
    except RefusedFileError as error:
        return ShardIndex.of((), () if with_metadata else None, problem=str(error))


def read_records(shard: ConditionShard, wanted: RecordRange = EVERYTHING) -> Iterator[RawRecord]:
    """Read the records of a shard in order.

    Args:
        shard: The shard.
        wanted: Which records; all by default.

    Raises:
        ConditionError: If the shard is damaged before the end of the range.
        StorageError: If the storage fails.
    """
    readers = {"tar": read_tar, "parquet": read_parquet, "folder": read_folder}
    try:
        yield from readers[shard.kind](shard, wanted)
    except OSError as error:
        raise StorageError(f"cannot be read: {error}", file=shard.place) from error
