"""Where condition records come from: WebDataset tars, Parquet files, plain folders.

A source is a list of condition shards; a shard is an ordered list of records; a record here is still raw bytes by
member extension. Refuses to know what the bytes hold.
"""

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
    # what is compressed cannot be indexed, but is no file to pass over in silence either
    *((suffix, "tar", "webdataset") for suffix in (".tar.gz", ".tgz", ".tar.zst", ".tar.xz", ".tar.bz2")),
    (".parquet", "parquet", "parquet"),
)


def list_shards(source: str, source_format: SourceFormat = "auto") -> list[ConditionShard]:
    """Find the condition shards of a source, sorted by name whatever order the storage lists them in.

    Raises:
        ConditionError: If nothing readable is there.
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
            f"{len(files)} files, none of them readable as {source_format}",
            "*.tar or *.parquet shards, or a folder of KEY.seg.png, KEY.light.png ... files",
        )
    others = len(files) - (len(loose) if shards[0].kind == "folder" else len(shards))
    if others:
        _LOG.info("%s: %d files are no condition shards and are not read", storage.without_secrets(source), others)
    return sorted(shards, key=lambda shard: shard.name)


def index_shard(shard: ConditionShard, *, with_metadata: bool) -> ShardIndex:
    """What a shard holds. A shard that is damaged, or refused to us, is no exception but an index with a problem.

    Args:
        shard: The shard.
        with_metadata: Read the records' metadata too.

    Raises:
        StorageError: If the storage fails; that may pass, so it must not count as damage.
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
        raise StorageError(f"{shard.place}: cannot be read: {error}") from error
    except RefusedFileError as error:
        return ShardIndex.of((), () if with_metadata else None, problem=str(error))


def read_records(shard: ConditionShard, wanted: RecordRange = EVERYTHING) -> Iterator[RawRecord]:
    """Raw records of a shard, in order.

    Raises:
        ConditionError: If the shard is damaged before the range ends.
        StorageError: If the storage does not give its bytes.
    """
    readers = {"tar": read_tar, "parquet": read_parquet, "folder": read_folder}
    try:
        yield from readers[shard.kind](shard, wanted)
    except OSError as error:
        raise StorageError(f"{shard.place}: cannot be read: {error}") from error
