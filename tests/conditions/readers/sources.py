"""Small sources in every storage format, and short names for reading them."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from dentgen.conditions.readers.raw import ConditionShard, RawRecord, ShardIndex
from dentgen.conditions.readers.source import index_shard, list_shards, read_records
from tests.conftest import write_tar

Members = dict[str, bytes]
Records = dict[str, Members]

KINDS = ("tar", "parquet", "folder")


def only_shard(path: Path) -> ConditionShard:
    """The single shard of a source."""
    (shard,) = list_shards(str(path))
    return shard


def index(path: Path, *, with_metadata: bool = False) -> ShardIndex:
    """Index of a source of one shard."""
    return index_shard(only_shard(path), with_metadata=with_metadata)


def read(path: Path) -> list[RawRecord]:
    """Records of a source of one shard."""
    return list(read_records(only_shard(path)))


def read_members(path: Path) -> Records:
    """Members of all records of a source by key."""
    return {raw.key: raw.members for shard in list_shards(str(path)) for raw in read_records(shard)}


def tar_of(path: Path, *members: tuple[str, bytes]) -> Path:
    """Write a tar of members with any names, in the given order."""
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def write_source(kind: str, folder: Path, records: Records) -> Path:
    """Write a source of one shard in a new folder."""
    folder.mkdir()
    if kind == "tar":
        write_tar(folder / "x.tar", records)
    elif kind == "parquet":
        rows = [{"__key__": key, "note": "not a member", **members} for key, members in records.items()]
        pq.write_table(pa.Table.from_pylist(rows), folder / "x.parquet", row_group_size=3)
    else:
        for key, members in records.items():
            for extension, content in members.items():
                (folder / f"{key}.{extension}").write_bytes(content)
    return folder
