"""The three kinds of sources give the same records, and say where reading ended."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dentgen.conditions.raw import ConditionShard, RecordRange, ShardIndex, printable, split_member
from dentgen.conditions.sources import index_shard, list_shards, read_records
from dentgen.errors import ConditionError
from tests.conftest import write_tar

Members = dict[str, dict[str, bytes]]


def read_all(path: Path) -> dict[str, dict[str, bytes]]:
    return {raw.key: raw.members for shard in list_shards(str(path)) for raw in read_records(shard)}


def only_shard(path: Path) -> ConditionShard:
    (shard,) = list_shards(str(path))
    return shard


def index(path: Path, *, with_splits: bool = False) -> ShardIndex:
    return index_shard(only_shard(path), with_splits=with_splits)


def loose_tar(path: Path, *members: tuple[str, bytes]) -> Path:
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def write_source(kind: str, folder: Path, records: Members) -> Path:
    folder.mkdir()
    if kind == "tar":
        write_tar(folder / "x.tar", records)
    elif kind == "parquet":
        rows = [{"__key__": key, "note": "no member", **members} for key, members in records.items()]
        pq.write_table(pa.Table.from_pylist(rows), folder / "x.parquet", row_group_size=3)
    else:
        for key, members in records.items():
            for extension, content in members.items():
                (folder / f"{key}.{extension}").write_bytes(content)
    return folder


@pytest.mark.parametrize("kind", ["tar", "parquet", "folder"])
def test_kinds_agree_on_records_ranges_and_splits(kind: str, tmp_path: Path, demo_members: Members) -> None:
    few = {key: demo_members[key] for key in sorted(demo_members)[:8]}
    source = write_source(kind, tmp_path / kind, few)
    assert read_all(source) == few
    shard, found = only_shard(source), index(source, with_splits=True)
    assert found.keys == tuple(sorted(few))
    assert not found.problem
    assert found.splits is not None
    assert set(found.splits) <= {"train", "validation", "test"}
    for start, stop in ((0, 1), (1, 3), (2, 8), (7, 8)):
        bounds = (found.offsets[start], found.offsets[stop]) if found.offsets else None
        records = list(read_records(shard, RecordRange(start, stop, bounds)))
        assert [raw.key for raw in records] == sorted(few)[start:stop]
        assert all(raw.members == few[raw.key] for raw in records)


def test_a_single_file_is_a_source(tmp_path: Path, demo_members: Members) -> None:
    write_tar(tmp_path / "x.tar", demo_members)
    assert list(read_all(tmp_path / "x.tar")) == list(demo_members)


def test_keys_end_at_the_first_dot_of_the_last_segment() -> None:
    assert split_member("a.b/c.seg.png") == ("a.b/c", "seg.png")
    assert split_member("./c.SEG.PNG") == ("c", "seg.png")
    assert split_member("../../c.seg.png") == ("../../c", "seg.png")
    assert split_member("no-extension") == ("no-extension", "")
    assert split_member("a/._c.seg.png") is None, "archivers' own files are no records"


def test_text_of_a_source_can_be_printed() -> None:
    assert printable("Zahn 11/ä") == "Zahn 11/ä"
    assert printable("a\x1b[2Jb\udcff") == "a\\x1b[2Jb\\udcff"


def test_an_unreadable_source_says_what_was_expected(tmp_path: Path) -> None:
    (tmp_path / "notes.doc").write_text("x")
    with pytest.raises(ConditionError, match=r"KEY\.seg\.png"):
        list_shards(str(tmp_path))


def test_names_do_not_depend_on_where_a_source_lies(tmp_path: Path, demo_members: Members) -> None:
    """A source called like a part of its parent, a leading "./" in the archive, a path with ".."."""
    few = {f"./{key}": demo_members[key] for key in sorted(demo_members)[:2]}
    source = tmp_path / "roadmaps" / "maps"
    write_tar(source / "x.tar", few)
    for path in (source, source / ".." / "maps", Path(f"{source}/")):
        assert only_shard(path).name == "x.tar"
        assert index(path).keys == tuple(sorted(demo_members)[:2])


def test_a_member_that_comes_twice_is_another_record(tmp_path: Path) -> None:
    names = ("a.seg.png", "a.json", "a.seg.png", "b.seg.png")
    assert index(loose_tar(tmp_path / "x.tar", *((name, b"x") for name in names))).keys == ("a", "a", "b")


@pytest.mark.parametrize(
    ("cut", "whole", "reason"),
    [
        (lambda data: data[:2600], ("a",), "'b.seg.png' cut off at byte 2600"),
        (lambda data: data[:1024], (), "no end mark at byte 1024"),
        (lambda data: data[:1024] + b"\x01" * 512 + data[1536:], (), "no readable header and no end mark at byte 1024"),
        (lambda data: data[:300], (), "truncated header"),
        (lambda data: b"", (), "empty file"),
        (lambda data: b"no tar " * 200, (), "at byte 0"),
        (lambda data: data + data, ("a", "b", "c"), "not zeros after the end mark"),
        (lambda data: bytes(1024), (), "no record"),
    ],
)
def test_a_damaged_tar_is_read_as_far_as_it_goes(
    cut: object, whole: tuple[str, ...], reason: str, tmp_path: Path
) -> None:
    """Blocks of 512: a.seg.png, a.light.png, b.seg.png, b.light.png, c.seg.png take two each; then the end mark."""
    names = ("a.seg.png", "a.light.png", "b.seg.png", "b.light.png", "c.seg.png")
    path = loose_tar(tmp_path / "x.tar", *((name, name.encode() * 40) for name in names))
    path.write_bytes(cut(path.read_bytes()[:5120] + bytes(1024)))
    found = index(path)
    assert found.keys == whole
    assert reason in found.problem
    assert "x.tar" in found.problem


def test_a_cut_names_the_record_that_had_begun(tmp_path: Path) -> None:
    path = loose_tar(tmp_path / "x.tar", ("a.seg.png", b"x"), ("b.seg.png", b"y" * 2000))
    path.write_bytes(path.read_bytes()[:2048])
    assert index(path).problem_key == "b"


def test_a_header_that_leads_backwards_ends(tmp_path: Path) -> None:
    """CVE-2025-8194: a negative size makes tarfile read the same header for ever."""
    info = tarfile.TarInfo("a.seg.png")
    info.size = 0
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[124:136] = (-1024).to_bytes(12, "big", signed=True)
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 32 * 8 + sum(header[156:512]))
    path = tmp_path / "x.tar"
    path.write_bytes(bytes(header) * 3 + bytes(1024))
    assert index(path).problem


def test_a_member_too_large_spoils_its_record_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dentgen.conditions.tar_source.MAX_MEMBER_BYTES", 10)
    path = loose_tar(tmp_path / "x.tar", ("a.seg.png", b"x" * 11), ("b.seg.png", b"y"))
    first, second = read_records(only_shard(path))
    assert first.problem is not None
    assert "11 bytes" in str(first.problem)
    assert second.problem is None


def test_damaged_parquet_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"PAR1 no")
    assert "x.parquet" in index(tmp_path).problem
    pq.write_table(pa.table({"name": ["a"]}), tmp_path / "x.parquet")
    assert "expected a column '__key__'" in index(tmp_path).problem


def test_a_shard_that_cannot_be_read_is_a_problem_and_no_exception(tmp_path: Path) -> None:
    shard = ConditionShard("x.tar", str(tmp_path / "gone.tar"), "tar", 1, "")
    assert "gone.tar" in index_shard(shard, with_splits=False).problem
