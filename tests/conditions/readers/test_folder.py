"""Loose files: which of them belong to records, and nothing that was meant as a member is lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from fsspec.implementations.local import LocalFileSystem

from dentgen import storage
from dentgen.conditions.decode import decode_record
from dentgen.conditions.readers.folder import index_folder, loose_files, read_folder
from dentgen.conditions.readers.raw import RawRecord, RecordRange
from dentgen.errors import ConditionError
from tests.conditions.readers.sources import Records, index, only_shard, read, read_members, write_source


def test_records_are_read_in_order_of_their_keys(tmp_path: Path) -> None:
    """Not of their files: "-" sorts before ".", so "a-b.seg.png" comes before "a.json"."""
    for name in ("b.seg.png", "a.json", "a-b.seg.png", "a.seg.png"):
        (tmp_path / name).write_bytes(name.encode())
    shard = only_shard(tmp_path)
    assert index_folder(shard, with_metadata=False).keys == ("a", "a-b", "b")
    last_two = list(read_folder(shard, RecordRange(1, 3)))
    assert [(raw.key, raw.members) for raw in last_two] == [
        ("a-b", {"seg.png": b"a-b.seg.png"}),
        ("b", {"seg.png": b"b.seg.png"}),
    ]
    assert last_two[0].place.endswith("/a-b")


def test_unrelated_files_are_ignored_and_misnamed_members_rejected(tmp_path: Path, demo_members: Records) -> None:
    """A file that is named like a map, or shares its key with a member, is a member."""
    key, members = min(demo_members.items())
    source = write_source("folder", tmp_path / "x", {key: members})
    for name in ("LICENSE", "notes.md", ".hidden.png", "other.zip"):
        (source / name).write_bytes(b"x")
    assert read_members(source) == {key: members}
    (source / f"{key}.fdi.tif").write_bytes(b"x")
    (source / "b.seg.tif").write_bytes(b"x")
    found = read_members(source)
    assert set(found) == {key, "b"}
    assert set(found[key]) == {*members, "fdi.tif"}
    with pytest.raises(ConditionError) as caught:
        decode_record(RawRecord("b", "b", found["b"]), ("segmentation",))
    assert "['seg.tif']" in caught.value.found


def test_files_of_records_are_selected_from_a_listing(tmp_path: Path) -> None:
    for name in ("a.seg.png", "a.txt", "b.txt", "c.depth.exr", "README", "d.json"):
        (tmp_path / name).write_bytes(b"x")
    selected = loose_files(storage.list_files(str(tmp_path)), str(tmp_path))
    assert {storage.name_of(file.url) for file in selected} == {"a.seg.png", "a.txt", "c.depth.exr", "d.json"}


def test_names_that_differ_only_in_case_are_all_kept(tmp_path: Path) -> None:
    for name in ("a.seg.png", "a.SEG.png", "a.Seg.PNG"):
        (tmp_path / name).write_bytes(name.encode())
    (raw,) = read(tmp_path)
    assert sorted(raw.members.values()) == [b"a.SEG.png", b"a.Seg.PNG", b"a.seg.png"]


def test_too_large_member_costs_only_its_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dentgen.conditions.readers.folder.MAX_MEMBER_BYTES", 10)
    (tmp_path / "a.seg.png").write_bytes(b"x" * 11)
    (tmp_path / "b.seg.png").write_bytes(b"y" * 10)
    first, second = read(tmp_path)
    assert first.problem is not None
    assert first.problem.file == f"{first.place}.seg.png"
    assert "11" in first.problem.found
    assert first.members == {"seg.png": b""}
    assert (second.problem, second.members) == (None, {"seg.png": b"y" * 10})


def test_splits_come_from_the_records_metadata(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'{"split": "train", "view": "left"}')
    (tmp_path / "b.seg.png").write_bytes(b"x")
    (tmp_path / "c.json").write_bytes(b"{")
    found = index(tmp_path, with_metadata=True)
    assert found.splits == ("train", "", None)
    assert found.attributes == ('{"view": "left"}', "{}", "{}")
    assert index(tmp_path).splits is None


def test_a_denied_file_costs_its_record_alone(
    tmp_path: Path, demo_members: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Permissions do not bind the superuser that tests may run as, so opening fails instead."""
    a, b, c = sorted(demo_members)[:3]
    source = write_source("folder", tmp_path / "s", {key: demo_members[key] for key in (a, b, c)})
    shard, opened = only_shard(source), LocalFileSystem.open
    denied = {str(source / f"{a}.json"), str(source / f"{b}.seg.png")}

    def deny(self: LocalFileSystem, path: str, *args: object, **kwargs: object) -> object:
        if path in denied:
            raise PermissionError(13, "Permission denied", path)
        return opened(self, path, *args, **kwargs)

    monkeypatch.setattr(LocalFileSystem, "open", deny)
    found = index_folder(shard, with_metadata=True)
    assert found.keys == (a, b, c)
    assert found.splits is not None
    assert [split is None for split in found.splits] == [True, False, False]
    problems = {raw.key: raw.problem for raw in read_folder(shard, RecordRange(0, 3))}
    assert {key: problem and problem.file for key, problem in problems.items()} == {
        a: f"{source}/{a}.json", b: f"{source}/{b}.seg.png", c: None,
    }  # fmt: skip
