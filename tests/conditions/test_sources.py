"""The three kinds of sources give the same records."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dentgen.conditions.sources import list_shards, read_records, shard_keys, split_member
from dentgen.errors import ConditionError
from tests.conftest import write_tar

Members = dict[str, dict[str, bytes]]


def read_all(path: Path) -> dict[str, dict[str, bytes]]:
    return {raw.key: raw.members for shard in list_shards(str(path)) for raw in read_records(shard, 0, 10**6)}


def test_tar_parquet_and_folder_agree(tmp_path: Path, demo_members: Members) -> None:
    few = {key: demo_members[key] for key in sorted(demo_members)[:4]}
    write_tar(tmp_path / "tar" / "x.tar", few)
    (tmp_path / "parquet").mkdir()
    rows = [{"__key__": key, **members} for key, members in few.items()]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "parquet" / "x.parquet")
    (tmp_path / "folder").mkdir()
    for key, members in few.items():
        for extension, content in members.items():
            (tmp_path / "folder" / f"{key}.{extension}").write_bytes(content)
    for kind in ("tar", "parquet", "folder"):
        assert read_all(tmp_path / kind) == few, kind
        (shard,) = list_shards(str(tmp_path / kind))
        assert shard_keys(shard) == sorted(few), kind
        assert [raw.key for raw in read_records(shard, 1, 3)] == sorted(few)[1:3], kind


def test_a_single_file_is_a_source(tmp_path: Path, demo_members: Members) -> None:
    write_tar(tmp_path / "x.tar", demo_members)
    assert list(read_all(tmp_path / "x.tar")) == list(demo_members)


def test_keys_end_at_the_first_dot_of_the_last_segment() -> None:
    assert split_member("a.b/c.seg.png") == ("a.b/c", "seg.png")
    assert split_member("c.SEG.PNG") == ("c", "seg.png")
    assert split_member(".hidden") is None
    assert split_member("no-extension") is None


def test_members_that_leave_the_archive_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "evil.tar"
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("../../etc/x.seg.png")
        info.size = 1
        archive.addfile(info, io.BytesIO(b"x"))
    (shard,) = list_shards(str(path))
    with pytest.raises(ConditionError, match="outside the archive"):
        shard_keys(shard)


def test_an_unreadable_source_says_what_was_expected(tmp_path: Path) -> None:
    (tmp_path / "notes.doc").write_text("x")
    with pytest.raises(ConditionError, match=r"KEY\.seg\.png"):
        list_shards(str(tmp_path))
    (tmp_path / "x.tar").write_bytes(b"this is no tar" * 100)
    with pytest.raises(ConditionError, match=r"x\.tar"):
        shard_keys(list_shards(str(tmp_path))[0])


def test_names_do_not_depend_on_where_a_source_lies(tmp_path: Path, demo_members: Members) -> None:
    """A source called like a part of its parent, a leading "./" in the archive, a path with ".."."""
    few = {f"./{key}": demo_members[key] for key in sorted(demo_members)[:2]}
    source = tmp_path / "roadmaps" / "maps"
    write_tar(source / "x.tar", few)
    for path in (source, source / ".." / "maps", f"{source}/"):
        (shard,) = list_shards(str(path))
        assert shard.name == "x.tar"
        assert shard_keys(shard) == sorted(demo_members)[:2]


def test_a_member_that_comes_twice_is_another_record(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as archive:
        for name in ("a.seg.png", "a.json", "a.seg.png", "b.seg.png"):
            info = tarfile.TarInfo(name)
            info.size = 1
            archive.addfile(info, io.BytesIO(b"x"))
    assert shard_keys(list_shards(str(path))[0]) == ["a", "a", "b"]


def test_damaged_parquet_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(ConditionError, match=r"x\.parquet"):
        shard_keys(list_shards(str(tmp_path))[0])
