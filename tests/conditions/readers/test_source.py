"""Sources: every storage format gives the same records, and failing storage is not mistaken for damage."""

from __future__ import annotations

import gzip
import io
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from fsspec.implementations.local import LocalFileSystem

from dentgen import storage
from dentgen.conditions.readers.raw import RecordRange
from dentgen.conditions.readers.source import index_shard, list_shards, read_records
from dentgen.errors import ConditionError, StorageError
from tests.conditions.readers.sources import KINDS, Records, index, only_shard, read_members, tar_of, write_source
from tests.conftest import write_tar


@pytest.mark.parametrize("kind", KINDS)
def test_formats_agree_on_records_ranges_and_splits(kind: str, tmp_path: Path, demo_members: Records) -> None:
    few = {key: demo_members[key] for key in sorted(demo_members)[:8]}
    source = write_source(kind, tmp_path / kind, few)
    assert read_members(source) == few
    shard, found = only_shard(source), index(source, with_metadata=True)
    assert found.keys == tuple(sorted(few))
    assert not found.problem
    assert found.splits is not None
    assert set(found.splits) <= {"train", "validation", "test"}
    for start, stop in ((0, 1), (1, 3), (2, 8), (7, 8)):
        byte_range = (found.offsets[start], found.offsets[stop]) if found.offsets else None
        records = list(read_records(shard, RecordRange(start, stop, byte_range)))
        assert [raw.key for raw in records] == sorted(few)[start:stop]
        assert all(raw.members == few[raw.key] for raw in records)


@pytest.mark.parametrize("kind", KINDS)
def test_too_large_metadata_are_not_read_for_an_index(kind: str, tmp_path: Path) -> None:
    """Peak memory stays far below the 32 MiB of metadata; pyarrow holds one row at a time."""
    small, large = b'{"split": "train"}', b'{"split": "train", "x": "' + b"x" * 2**24 + b'"}'
    source = write_source(kind, tmp_path / kind, {"a": {"json": large}, "b": {"json": small}, "c": {"json": large}})
    tracemalloc.start()
    try:
        assert index(source, with_metadata=True).splits == (None, "train", None)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < (2**25 if kind == "parquet" else 2**22)


def test_single_file_is_a_source(tmp_path: Path, demo_members: Records) -> None:
    write_tar(tmp_path / "x.tar", demo_members)
    assert list(read_members(tmp_path / "x.tar")) == list(demo_members)


def test_shards_are_sorted_and_selected_by_format(tmp_path: Path, demo_members: Records) -> None:
    write_source("parquet", tmp_path / "s", demo_members)
    for name in ("y.tar", "b.tar", "sub/c.tar"):
        write_tar(tmp_path / "s" / name, demo_members)
    source = str(tmp_path / "s")
    assert [shard.name for shard in list_shards(source)] == ["b.tar", "sub/c.tar", "x.parquet", "y.tar"]
    (tmp_path / "s" / "k.seg.png").write_bytes(b"x")
    assert [shard.name for shard in list_shards(source, "webdataset")] == ["b.tar", "sub/c.tar", "y.tar"]
    assert [shard.name for shard in list_shards(source, "parquet")] == ["x.parquet"]
    (folder,) = list_shards(source, "folder")
    assert (folder.kind, folder.size, len(folder.files)) == ("folder", 1, 1)


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_loose_records_beside_shards_are_refused(kind: str, tmp_path: Path, demo_members: Records) -> None:
    """Whichever was read, the other would be lost silently; a format chooses."""
    key = min(demo_members)
    source = write_source(kind, tmp_path / "s", {key: demo_members[key]})
    for name in ("LICENSE", "README.md", "preview.png", "about.json"):
        (source / name).write_bytes(b"x")
    assert [shard.kind for shard in list_shards(str(source))] == [kind]
    (source / "deep").mkdir()
    (source / "deep" / "loose.photo.jpg").write_bytes(b"x")
    with pytest.raises(ConditionError) as caught:
        list_shards(str(source))
    assert caught.value.file == str(source)
    assert "deep/loose.photo.jpg" in caught.value.found
    assert f"x.{kind}" in caught.value.found
    assert "source.format" in caught.value.expected
    assert [shard.kind for shard in list_shards(str(source), "folder")] == ["folder"]
    assert [shard.kind for shard in list_shards(str(source), "parquet" if kind == "parquet" else "webdataset")] == [
        kind
    ]


LEFTOVERS = (
    ".hidden.seg.png", "._a.seg.png", ".ipynb_checkpoints/a.seg.png", ".cache/deep/a.seg.png", "__MACOSX/a.seg.png",
    "#a.seg.png#", "a.seg.png~", ".~lock.a.seg.png#", ".DS_Store", "deep/Thumbs.db", "_temporary/0/a.seg.png",
)  # fmt: skip


@pytest.mark.parametrize("kind", ["tar", "folder"])
def test_what_editors_and_archivers_leave_behind_is_passed_over(
    kind: str, tmp_path: Path, demo_members: Records
) -> None:
    """Alike in tars and folders, whatever folder the source is in."""
    key = min(demo_members)
    few = {key: demo_members[key]}
    source = tmp_path / ".hidden" / "__MACOSX" / "s"
    source.mkdir(parents=True)
    if kind == "folder":
        for extension, content in few[key].items():
            (source / f"{key}.{extension}").write_bytes(content)
        for name in LEFTOVERS:
            (source / name).parent.mkdir(exist_ok=True, parents=True)
            (source / name).write_bytes(b"x")
    else:
        members = [(f"{key}.{extension}", content) for extension, content in few[key].items()]
        tar_of(source / "x.tar", *members, *((name, b"x") for name in LEFTOVERS))
    assert read_members(source) == few


def test_hidden_shards_are_passed_over_unless_they_are_the_source(tmp_path: Path, demo_members: Records) -> None:
    for name in ("x.tar", "._x.tar", ".trash/y.tar", "__MACOSX/._x.tar"):
        write_tar(tmp_path / name, demo_members)
    assert [shard.name for shard in list_shards(str(tmp_path))] == ["x.tar"]
    assert [shard.name for shard in list_shards(str(tmp_path / "._x.tar"))] == ["._x.tar"]
    (tmp_path / "x.tar").unlink()
    with pytest.raises(ConditionError) as caught:
        list_shards(str(tmp_path))
    assert "3 files (3 of them hidden" in caught.value.found


def test_source_without_records_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "notes.doc").write_text("x")
    with pytest.raises(ConditionError) as caught:
        list_shards(str(tmp_path))
    assert caught.value.file == str(tmp_path)
    assert "1 files" in caught.value.found
    assert "KEY.seg.png" in caught.value.expected
    with pytest.raises(ConditionError) as caught:
        list_shards(str(tmp_path), "parquet")
    assert "parquet" in caught.value.found


def test_names_do_not_depend_on_the_location_of_the_source(tmp_path: Path, demo_members: Records) -> None:
    """A source named like a part of its parent, a leading "./" in the archive, a path with ".."."""
    few = {f"./{key}": demo_members[key] for key in sorted(demo_members)[:2]}
    source = tmp_path / "roadmaps" / "maps"
    write_tar(source / "x.tar", few)
    for path in (source, source / ".." / "maps", Path(f"{source}/")):
        assert only_shard(path).name == "x.tar"
        assert index(path).keys == tuple(sorted(demo_members)[:2])


def test_links_are_followed_and_dangling_links_reported(tmp_path: Path, demo_members: Records) -> None:
    write_tar(tmp_path / "elsewhere" / "real.tar", demo_members)
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "x.tar").symlink_to(tmp_path / "elsewhere" / "real.tar")
    assert index(tmp_path / "s").keys == tuple(demo_members)
    (tmp_path / "s" / "y.tar").symlink_to(tmp_path / "nothing.tar")
    with pytest.raises(StorageError) as caught:
        list_shards(str(tmp_path / "s"))
    assert "y.tar" in str(caught.value)


def test_compressed_tars_are_reported_and_names_may_be_upper_case(tmp_path: Path, demo_members: Records) -> None:
    write_tar(tmp_path / "A.TAR", demo_members)
    (tmp_path / "b.tar.gz").write_bytes(gzip.compress(b"x" * 1024))
    upper_case, compressed = list_shards(str(tmp_path))
    assert index_shard(upper_case, with_metadata=False).keys == tuple(demo_members)
    assert "b.tar.gz" in index_shard(compressed, with_metadata=False).problem


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_failing_storage_is_an_error_and_denied_access_a_problem(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, demo_members: Records
) -> None:
    """A temporary failure must not count as damage; denied access is permanent and costs only this shard."""
    key = min(demo_members)
    shard = only_shard(write_source(kind, tmp_path / kind, {key: demo_members[key]}))

    def raising(error: type[OSError]) -> Callable[..., object]:
        def opened(*_: object, **__: object) -> object:
            raise error(104, "connection reset")

        return opened

    monkeypatch.setattr(LocalFileSystem, "open", raising(ConnectionResetError))
    with pytest.raises(StorageError) as caught:
        index_shard(shard, with_metadata=True)
    assert str(tmp_path / kind) in str(caught.value)
    with pytest.raises(StorageError):
        list(read_records(shard))
    monkeypatch.setattr(LocalFileSystem, "open", raising(PermissionError))
    assert str(tmp_path / kind) in index_shard(shard, with_metadata=True).problem


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_storage_that_fails_while_reading_is_an_error(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, demo_members: Records
) -> None:
    """A disk or connection may fail after the file was opened."""

    class FailingFile(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError(5, "Input/output error")

    key = min(demo_members)
    shard = only_shard(write_source(kind, tmp_path / kind, {key: demo_members[key]}))
    content = Path(shard.url).read_bytes()
    monkeypatch.setattr(LocalFileSystem, "open", lambda *_, **__: FailingFile(content))
    with pytest.raises(StorageError) as caught:
        index_shard(shard, with_metadata=False)
    assert caught.value.file == shard.place
    with pytest.raises(StorageError) as caught:
        list(read_records(shard))
    assert caught.value.file == shard.place


def test_names_of_shards_are_unique_and_on_one_line(tmp_path: Path, demo_members: Records) -> None:
    """A line break and a backslash before an "n" are two files, and two names."""
    key = min(demo_members)
    for name in ("a\nb.tar", "a\\nb.tar", "a\\\\nb.tar", "scan::2.tar", "caf\u00e9.tar", "cafe\u0301.tar"):
        write_tar(tmp_path / name, {key: demo_members[key]})
    shards = list_shards(str(tmp_path))
    assert [shard.name for shard in shards] == sorted(
        ["a\\nb.tar", "a\\\\nb.tar", "a\\\\\\\\nb.tar", "scan::2.tar", "caf\u00e9.tar", "cafe\u0301.tar"]
    )
    assert all(index_shard(shard, with_metadata=False).keys == (key,) for shard in shards)


BEGUN = ("lease.json", "plan/source.parquet")
BUILD = (*BEGUN, "plan/000000.json", "plan/000000.units.parquet", "shards/000000.tar", "ledger/000000.json",
         "index.json", "versions/0/index.json", "_SUCCESS", "exported/x.seg.png")  # fmt: skip


def lay(root: Path, names: tuple[str, ...]) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


@pytest.mark.parametrize("names", [BEGUN[:1], BEGUN[1:], (*BEGUN, ".lease.json.ab.tmp"), BUILD])
@pytest.mark.parametrize("kind", ["tar", "folder"])
def test_builds_inside_a_source_are_passed_over_by_name(
    kind: str, names: tuple[str, ...], tmp_path: Path, demo_members: Records, caplog: pytest.LogCaptureFixture
) -> None:
    """From the first file of a build on, so that every run of it sees the same source."""
    key = min(demo_members)
    source = write_source(kind, tmp_path / "s", {key: demo_members[key]})
    source = source.parent if source.is_file() else source
    alone = list_shards(f"{source}/")
    lay(source / "deep" / "out", names)
    with caplog.at_level("INFO"):
        assert list_shards(f"{source}/") == alone
    named = [record.args for record in caplog.records if record.levelname == "WARNING"]
    assert named == [(f"{source}/", str(source / "deep" / "out"))]


def test_a_build_is_a_source_and_records_are_no_build(tmp_path: Path, demo_members: Records) -> None:
    lay(tmp_path / "out", tuple(name for name in BUILD[:-1] if name != "index.json"))
    for source in (tmp_path / "out", tmp_path / "out" / "shards"):
        assert "000000.tar" in {shard.name.rpartition("/")[2] for shard in list_shards(str(source))}
    with pytest.raises(ConditionError) as caught:
        list_shards(str(tmp_path))
    assert f"1 builds, first {tmp_path / 'out'}" in caught.value.found
    members = {f"{key}.{name}" for key in ("sub/lease", "plan/000000") for name in ("json", "seg.png")}
    lay(tmp_path / "records", tuple(members))
    (folder,) = list_shards(str(tmp_path / "records"))
    assert len(folder.files) == len(members), "records may be called as files of builds are"


def test_odd_names_are_read_from_s3_as_from_disk(tmp_path: Path, demo_members: Records, s3_root: str) -> None:
    key = min(demo_members)
    for name in ("tars::1/scan::2.tar", "tars::1/a%41[x]*?.tar", "loose/a::b.seg.png", "loose/2023::run/c.seg.png"):
        file = write_tar(tmp_path / name, {key: demo_members[key]})
        storage.put_if_absent(storage.join(s3_root, "odd", name), file.read_bytes())
    for source in ("tars::1", "tars::1/scan::2.tar", "loose"):
        local, remote = (list_shards(storage.join(root, source)) for root in (str(tmp_path), f"{s3_root}/odd"))
        assert [shard.name for shard in local] == [shard.name for shard in remote] != []
        assert [index_shard(shard, with_metadata=False) for shard in local] == [
            index_shard(shard, with_metadata=False) for shard in remote
        ]
