"""The three kinds of sources give the same records, and say where reading ended."""

from __future__ import annotations

import gzip
import io
import re
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.local import LocalFileSystem

from dentgen.conditions.decode import decode_record
from dentgen.conditions.readers.raw import ConditionShard, RawRecord, RecordRange, ShardIndex, printable, split_member
from dentgen.conditions.readers.source import index_shard, list_shards, read_records
from dentgen.errors import ConditionError, StorageError
from tests.conftest import write_tar

Members = dict[str, dict[str, bytes]]


def read_all(path: Path) -> dict[str, dict[str, bytes]]:
    return {raw.key: raw.members for shard in list_shards(str(path)) for raw in read_records(shard)}


def only_shard(path: Path) -> ConditionShard:
    (shard,) = list_shards(str(path))
    return shard


def index(path: Path, *, with_metadata: bool = False) -> ShardIndex:
    return index_shard(only_shard(path), with_metadata=with_metadata)


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
    shard, found = only_shard(source), index(source, with_metadata=True)
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


def test_a_folder_passes_nothing_over_that_was_meant(tmp_path: Path, demo_members: Members) -> None:
    """As in a tar: what is named like a map, or stands beside one, is a member, which decoding refuses by name."""
    key, members = next(iter(sorted(demo_members.items())))
    source = write_source("folder", tmp_path / "x", {key: members})
    for name in ("LICENSE", "notes.md", ".hidden.png", "other.zip"):
        (source / name).write_bytes(b"x")
    assert read_all(source) == {key: members}
    (source / f"{key}.fdi.tif").write_bytes(b"x")
    (source / "b.seg.tif").write_bytes(b"x")
    found = read_all(source)
    assert set(found) == {key, "b"}
    assert set(found[key]) == {*members, "fdi.tif"}
    with pytest.raises(ConditionError, match=r"unknown members \['seg\.tif'\]"):
        decode_record(RawRecord("b", "b", found["b"]), ("segmentation",))


def test_metadata_in_columns_of_their_own_are_refused(tmp_path: Path) -> None:
    table = pa.table({"__key__": ["a"], "seg.png": [b"x"], "prompt": ["teeth"], "split": ["train"], "id": [7]})
    pq.write_table(table, tmp_path / "x.parquet")
    expected = r"x\.parquet: found columns \['prompt', 'split'\], expected metadata in the JSON of column 'json'"
    assert re.search(expected, index(tmp_path).problem)


@pytest.mark.parametrize("kind", ["tar", "parquet", "folder"])
def test_metadata_too_large_are_not_read_for_an_index(kind: str, tmp_path: Path) -> None:
    small, large = b'{"split": "train"}', b'{"split": "train", "x": "' + b"x" * 2**24 + b'"}'
    source = write_source(kind, tmp_path / kind, {"a": {"json": large}, "b": {"json": small}, "c": {"json": large}})
    tracemalloc.start()
    try:
        assert index(source, with_metadata=True).splits == (None, "train", None)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < (2**25 if kind == "parquet" else 2**22), "pyarrow has a row at a time"


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
    cut: Callable[[bytes], bytes], whole: tuple[str, ...], reason: str, tmp_path: Path
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
    monkeypatch.setattr("dentgen.conditions.readers.tar.MAX_MEMBER_BYTES", 10)
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


def test_links_count_and_are_rejected(tmp_path: Path) -> None:
    """GNU tar stores a second name of one file as a hard link: its record must not lose a member in silence."""
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as archive:
        for name, link in (("a.seg.png", ""), ("b.seg.png", "a.seg.png"), ("b.fdi.png", "")):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = (tarfile.LNKTYPE, link) if link else (tarfile.REGTYPE, "")
            archive.addfile(info, io.BytesIO(b""))
    assert index(path).keys == ("a", "b")
    first, second = read_records(only_shard(path))
    assert first.problem is None
    assert "b.seg.png: found a link, device or sparse file" in str(second.problem)


def test_linked_files_are_listed_and_dangling_links_named(tmp_path: Path, demo_members: Members) -> None:
    write_tar(tmp_path / "elsewhere" / "real.tar", demo_members)
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "x.tar").symlink_to(tmp_path / "elsewhere" / "real.tar")
    assert index(tmp_path / "s").keys == tuple(demo_members)
    (tmp_path / "s" / "y.tar").symlink_to(tmp_path / "nothing.tar")
    with pytest.raises(StorageError, match=r"y\.tar: found a link that leads to no file"):
        list_shards(str(tmp_path / "s"))


def test_compressed_and_loud_names_are_not_passed_over(tmp_path: Path, demo_members: Members) -> None:
    write_tar(tmp_path / "A.TAR", demo_members)
    (tmp_path / "b.tar.gz").write_bytes(gzip.compress(b"x" * 1024))
    loud, compressed = list_shards(str(tmp_path))
    assert index_shard(loud, with_metadata=False).keys == tuple(demo_members)
    assert "b.tar.gz" in index_shard(compressed, with_metadata=False).problem


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
def test_headers_made_to_do_harm_are_damage(kind: bytes, tmp_path: Path) -> None:
    def header(size: int) -> bytes:
        info = tarfile.TarInfo("x")
        info.type, info.size = kind, size
        return info.tobuf(tarfile.GNU_FORMAT)

    (tmp_path / "deep.tar").write_bytes((header(10) + b"10 path=a\n".ljust(512, b"\0")) * 1500 + bytes(1024))
    (tmp_path / "huge.tar").write_bytes(header(2**45) + bytes(1024))
    for shard in list_shards(str(tmp_path)):
        assert shard.name in index_shard(shard, with_metadata=False).problem


def test_a_damaged_page_spoils_its_rows_alone(tmp_path: Path) -> None:
    rows = [{"__key__": f"k{n}", "seg.png": bytes([n]) * 999} for n in range(4)]
    path = tmp_path / "x.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=2, compression="none", use_dictionary=False)
    data = bytearray(path.read_bytes())
    at = pq.ParquetFile(path).metadata.row_group(0).column(1).data_page_offset
    data[at : at + 20] = b"\xff" * 20
    path.write_bytes(bytes(data))
    records = list(read_records(only_shard(path)))
    assert index(path).keys == ("k0", "k1", "k2", "k3")
    assert [record.problem is None for record in records] == [False, False, True, True]
    assert "x.parquet: k0: found unreadable pages" in str(records[0].problem)


def test_parquet_keys_and_columns_are_what_they_should_be(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"__key__": pa.array([b"a", None], pa.binary()), "json": ["{}", "{}"]}), path)
    assert index(path).keys == ("a", ""), "a row without a key is no record called None"
    pq.write_table(pa.table({"__key__": ["a"], "fdi.png": [{"bytes": b"x"}]}), path)
    assert "fdi.png: struct" in index(path).problem


def test_a_storage_that_fails_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, demo_members: Members
) -> None:
    """A reset that passes would otherwise count as one unreadable record, for ever."""
    write_tar(tmp_path / "x.tar", demo_members)
    shard = only_shard(tmp_path)

    def reset(error: type[OSError]) -> Callable[..., object]:
        def opened(*_: object, **__: object) -> object:
            raise error(104, "connection reset")

        return opened

    monkeypatch.setattr(LocalFileSystem, "open", reset(ConnectionResetError))
    with pytest.raises(StorageError, match=r"x\.tar: cannot be read"):
        index_shard(shard, with_metadata=False)
    monkeypatch.setattr(LocalFileSystem, "open", reset(PermissionError))
    assert "x.tar: may not be read" in index_shard(shard, with_metadata=False).problem


def test_a_sparse_file_spoils_its_record_alone(tmp_path: Path, demo_members: Members) -> None:
    """Its size counts holes that are not stored: what stands at the sum is another member, or nothing."""
    write_tar(tmp_path / "x.tar", {key: demo_members[key] for key in sorted(demo_members)[:2]})
    info = tarfile.TarInfo("sparse.seg.png")
    info.type, info.size = tarfile.GNUTYPE_SPARSE, 512
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[386:410], header[483:495] = b"%011o\0%011o\0" % (0, 512), b"%011o\0" % 2**30
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 8 * 32 + sum(header[156:]))
    (tmp_path / "x.tar").write_bytes(bytes(header) + bytes(512) + (tmp_path / "x.tar").read_bytes())
    found = index(tmp_path)
    assert (len(found.keys), found.problem) == (3, "")
    for number in range(3):
        place = (found.offsets[number], found.offsets[number + 1])
        (raw,) = read_records(only_shard(tmp_path), RecordRange(number, number + 1, place))
        assert raw.key == found.keys[number]
        assert ("sparse file" in str(raw.problem)) == (number == 0)


def test_no_message_is_as_long_as_a_name_can_be(tmp_path: Path) -> None:
    loose = tmp_path / "x.tar"
    loose_tar(loose, ("k" * 100_000 + ".seg.png", b""))
    (raw,) = read_records(only_shard(loose))
    assert len(raw.place) < 300


def test_names_that_differ_in_case_alone_lose_nothing(tmp_path: Path) -> None:
    for name in ("a.seg.png", "a.SEG.png", "a.Seg.PNG"):
        (tmp_path / name).write_bytes(name.encode())
    (raw,) = read_records(only_shard(tmp_path))
    assert sorted(raw.members.values()) == [b"a.SEG.png", b"a.Seg.PNG", b"a.seg.png"]
    pq.write_table(pa.table({"__key__": ["a"], "seg.png": [b"x"], "SEG.png": [b"y"]}), tmp_path / "x.parquet")
    assert "one binary column per member" in index(tmp_path / "x.parquet").problem


@pytest.mark.parametrize("column", [("JSON", ["{}"]), ("json", [1]), ("json", [[1]]), ("Json", [b"{}"])])
def test_metadata_stand_in_one_column_of_text(column: tuple[str, list[object]], tmp_path: Path) -> None:
    """Under another name their splits would be lost; numbers or lists are no metadata."""
    pq.write_table(pa.table({"__key__": ["a"], column[0]: column[1]}), tmp_path / "x.parquet")
    assert f"columns ['{column[0]}: " in index(tmp_path / "x.parquet", with_metadata=True).problem


def test_what_pyarrow_says_stays_on_one_line(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"__key__": ["a"]}), path)
    data = bytearray(path.read_bytes())
    data[-40:-8] = b"\xff" * 32
    path.write_bytes(bytes(data))
    assert index(path).problem.isprintable()


def test_sums_of_pages_are_asked(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    table = pa.table({"__key__": ["first", "second"], "seg.png": [b"right", b"wrong"]})
    pq.write_table(table, path, write_page_checksum=True, compression="none", use_dictionary=False)
    path.write_bytes(path.read_bytes().replace(b"right", b"Right"))
    assert "unreadable pages" in str(next(iter(read_records(only_shard(path)))).problem)


def test_a_row_group_is_not_held_whole(tmp_path: Path) -> None:
    """A dictionary page of a few bytes stands for a large member in every row."""
    path, rows = tmp_path / "x.parquet", 200
    members = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array([bytes(2**20)]))
    table = pa.table({"__key__": [str(n) for n in range(rows)], "seg.png": members.cast(pa.binary())})
    pq.write_table(table, path, compression="zstd")
    tracemalloc.start()
    records = read_records(only_shard(path))
    assert len(next(records).members["seg.png"]) == 2**20
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * 2**20
