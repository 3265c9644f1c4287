"""Tars: read up to the first damage, whose position is reported; no malicious header hangs or exhausts the reader."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from dentgen.conditions.readers.raw import RecordRange
from dentgen.conditions.readers.source import index_shard, list_shards, read_records
from dentgen.errors import ConditionError
from tests.conditions.readers.sources import Records, index, only_shard, read, tar_of
from tests.conftest import write_tar


def header_checksum(header: bytearray) -> bytes:
    """The checksum field of a tar header: the sum of its bytes, with the field itself as spaces."""
    return b"%06o\0 " % (sum(header[:148]) + 8 * ord(" ") + sum(header[156:512]))


def test_offsets_are_those_of_the_headers(tmp_path: Path) -> None:
    """Each member takes a header and its content rounded up to 512 bytes."""
    tar_of(tmp_path / "x.tar", ("a.seg.png", b"x"), ("a.json", b"{}"), ("b.seg.png", b"y" * 513))
    assert index(tmp_path).offsets == (0, 2048, 2048 + 512 + 1024)


def test_byte_ranges_give_the_same_records_as_the_whole_tar(tmp_path: Path, demo_members: Records) -> None:
    few = {key: demo_members[key] for key in sorted(demo_members)[:5]}
    write_tar(tmp_path / "x.tar", few)
    shard, offsets = only_shard(tmp_path), index(tmp_path).offsets
    for first, start, stop, last in ((0, 0, 1, 1), (1, 1, 4, 5), (0, 2, 5, 5), (2, 3, 4, 4)):
        byte_range = (offsets[first], offsets[last])
        records = list(read_records(shard, RecordRange(start, stop, byte_range, start - first)))
        assert {raw.key: raw.members for raw in records} == {key: few[key] for key in sorted(few)[start:stop]}


def test_repeated_member_starts_another_record(tmp_path: Path) -> None:
    names = ("a.seg.png", "a.json", "a.seg.png", "b.seg.png")
    assert index(tar_of(tmp_path / "x.tar", *((name, b"x") for name in names))).keys == ("a", "a", "b")


@pytest.mark.parametrize(
    ("damage", "keys", "fact"),
    [
        (lambda data: data[:2600], ("a",), "'b.seg.png' cut off at byte 2600"),
        (lambda data: data[:1024], (), "at byte 1024, 0 bytes unread"),
        (lambda data: data[:1024] + b"\x01" * 512 + data[1536:], (), "at byte 1024, 5120 bytes unread"),
        (lambda data: data[:300], (), "at byte 0"),
        (lambda data: b"", (), "at byte 0"),
        (lambda data: b"not tar " * 200, (), "at byte 0"),
        (lambda data: data + data, ("a", "b", "c"), "7168 bytes, not all zero"),
        (lambda data: data + bytes(2**20), ("a", "b", "c"), "1049600 bytes"),
        (lambda data: bytes(1024), (), "no record"),
    ],
)
def test_damaged_tar_is_read_up_to_the_damage(
    damage: Callable[[bytes], bytes], keys: tuple[str, ...], fact: str, tmp_path: Path
) -> None:
    """Five members of 1024 bytes each, then the end-of-archive block."""
    names = ("a.seg.png", "a.light.png", "b.seg.png", "b.light.png", "c.seg.png")
    path = tar_of(tmp_path / "x.tar", *((name, name.encode() * 40) for name in names))
    path.write_bytes(damage(path.read_bytes()[:5120] + bytes(1024)))
    found = index(path)
    assert found.keys == keys
    assert fact in found.problem
    assert "x.tar" in found.problem


def test_damage_within_the_range_is_raised(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "x.tar", ("a.seg.png", b"x"), ("b.seg.png", b"y" * 2000))
    path.write_bytes(path.read_bytes()[:2048])
    records = read_records(only_shard(path))
    assert next(records).key == "a"
    with pytest.raises(ConditionError) as caught:
        next(records)
    assert caught.value.file.endswith("x.tar")
    assert "2048" in caught.value.found


def test_problem_key_is_the_record_at_the_damage(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "x.tar", ("a.seg.png", b"x"), ("b.seg.png", b"y" * 2000))
    assert index(path).problem_key == ""
    path.write_bytes(path.read_bytes()[:2048])
    assert index(path).problem_key == "b"


def test_negative_size_does_not_loop(tmp_path: Path) -> None:
    """CVE-2025-8194: tarfile would read the same header forever."""
    info = tarfile.TarInfo("a.seg.png")
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[124:136] = (-1024).to_bytes(12, "big", signed=True)
    header[148:156] = header_checksum(header)
    path = tmp_path / "x.tar"
    path.write_bytes(bytes(header) * 3 + bytes(1024))
    assert "x.tar" in index(path).problem


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
def test_nested_or_huge_extension_headers_are_damage(kind: bytes, tmp_path: Path) -> None:
    def header(size: int) -> bytes:
        info = tarfile.TarInfo("x")
        info.type, info.size = kind, size
        return info.tobuf(tarfile.GNU_FORMAT)

    (tmp_path / "deep.tar").write_bytes((header(10) + b"10 path=a\n".ljust(512, b"\0")) * 1500 + bytes(1024))
    (tmp_path / "huge.tar").write_bytes(header(2**45) + bytes(1024))
    for shard in list_shards(str(tmp_path)):
        assert shard.name in index_shard(shard, with_metadata=False).problem


def test_too_large_member_costs_only_its_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dentgen.conditions.readers.tar.MAX_MEMBER_BYTES", 10)
    first, second = read(tar_of(tmp_path / "x.tar", ("a.seg.png", b"x" * 11), ("b.seg.png", b"y")))
    assert first.problem is not None
    assert first.problem.file == "x.tar: a.seg.png"
    assert "11" in first.problem.found
    assert second.problem is None


def test_links_are_members_that_cannot_be_read(tmp_path: Path) -> None:
    """GNU tar stores a second name of one file as a hard link: its record must not lose a member silently."""
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as archive:
        for name, link in (("a.seg.png", ""), ("b.seg.png", "a.seg.png"), ("b.fdi.png", "")):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = (tarfile.LNKTYPE, link) if link else (tarfile.REGTYPE, "")
            archive.addfile(info, io.BytesIO(b""))
    assert index(path).keys == ("a", "b")
    first, second = read(path)
    assert first.problem is None
    assert second.problem is not None
    assert second.problem.file == "x.tar: b.seg.png"


def test_unsorted_members_are_refused_and_counted_once(tmp_path: Path, demo_members: Records) -> None:
    """Members of three records in turns, and one record that stands together."""
    few = {key: demo_members[key] for key in sorted(demo_members)[:4]}
    *apart, whole = few
    names = sorted(few[whole])
    members = [(f"{key}.{name}", few[key][name]) for name in names for key in apart]
    path = tar_of(tmp_path / "x.tar", *members, *((f"{whole}.{name}", few[whole][name]) for name in names))
    found = index(path, with_metadata=True)
    assert (found.keys, found.offsets, found.problem) == (tuple(few), (), "")
    assert found.splits is not None
    assert found.splits[:3] == (None, None, None)
    records = read(path)
    assert [raw.key for raw in records] == list(few)
    for raw in records[:3]:
        assert raw.problem is not None
        assert raw.problem.file == f"x.tar: {raw.key}"
        assert "together" in raw.problem.expected
    assert (records[3].problem, records[3].members) == (None, few[whole])
    assert [raw.key for raw in read_records(only_shard(path), RecordRange(2, 4))] == list(few)[2:]


@pytest.mark.integration
def test_a_record_of_a_million_members_does_not_hang(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "x.tar", *((f"a.{n}", b"") for n in range(3000)))
    assert index(path).keys == ("a",)
    (raw,) = read(path)
    assert raw.problem is not None


@pytest.mark.parametrize(
    "content",
    [
        (tarfile.GNUTYPE_SPARSE, b""),
        (tarfile.GNUTYPE_SPARSE, b"0" * 300),
        (tarfile.GNUTYPE_LONGNAME, b"n" * (2**20 + 1)),
        (tarfile.XHDTYPE, b"30 path=" + b"n" * (2**20 + 1)),
        (tarfile.XGLTYPE, b"999999999 path=x\n"),
        (tarfile.XHDTYPE, b"12 size=-77\n"),
        (tarfile.XHDTYPE, b"40 size=9999999999999999999999999999999\n"),
        (tarfile.XHDTYPE, b"99 GNU.sparse.major=1\n"),
    ],
)
def test_exotic_headers_that_end_or_grow_without_bounds_are_damage(
    content: tuple[bytes, bytes], tmp_path: Path
) -> None:
    kind, data = content
    info = tarfile.TarInfo("x.seg.png")
    info.type, info.size = kind, len(data)
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    if kind == tarfile.GNUTYPE_SPARSE:
        header[482] = 1  # more of the map follows
        header[148:156] = header_checksum(header)
    path = tar_of(tmp_path / "x.tar", ("a.seg.png", b"x"), ("b.seg.png", b"x"))
    path.write_bytes(
        path.read_bytes()[:2048] + bytes(header) + data + bytes(-len(data) % 512 if data != b"0" * 300 else 0)
    )
    found = index(path)
    assert found.keys[0] == "a"
    assert "x.tar" in found.problem
    records = read_records(only_shard(path))
    assert next(records).key == "a"
    with pytest.raises(ConditionError):
        list(records)


@pytest.mark.parametrize("header", [{"path": "x.seg.png"}, {"size": "77"}, {"GNU.sparse.size": "9"}])
def test_a_global_header_that_renames_every_member_is_damage(header: dict[str, str], tmp_path: Path) -> None:
    for name, common in (("bad.tar", header), ("good.tar", {"comment": "a commit", "mtime": "1"})):
        with tarfile.open(tmp_path / name, "w", format=tarfile.PAX_FORMAT, pax_headers=common) as archive:
            archive.addfile(tarfile.TarInfo("a.seg.png"))
    bad, good = (index_shard(shard, with_metadata=False) for shard in list_shards(str(tmp_path)))
    assert next(iter(header)) in bad.problem
    assert (good.keys, good.problem) == (("a",), "")


def test_sparse_file_costs_only_its_record(tmp_path: Path, demo_members: Records) -> None:
    """The size in its header includes holes that are not stored, so it does not lead to the next header."""
    write_tar(tmp_path / "x.tar", {key: demo_members[key] for key in sorted(demo_members)[:2]})
    info = tarfile.TarInfo("sparse.seg.png")
    info.type, info.size = tarfile.GNUTYPE_SPARSE, 512
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[386:410], header[483:495] = b"%011o\0%011o\0" % (0, 512), b"%011o\0" % 2**20
    header[148:156] = header_checksum(header)
    (tmp_path / "x.tar").write_bytes(bytes(header) + bytes(512) + (tmp_path / "x.tar").read_bytes())
    found = index(tmp_path)
    assert (len(found.keys), found.problem) == (3, "")
    for number in range(3):
        byte_range = (found.offsets[number], found.offsets[number + 1])
        (raw,) = read_records(only_shard(tmp_path), RecordRange(number, number + 1, byte_range))
        assert raw.key == found.keys[number]
        assert (raw.problem is not None) == (number == 0)


def test_long_names_do_not_make_long_messages(tmp_path: Path) -> None:
    (raw,) = read(tar_of(tmp_path / "x.tar", ("k" * 100_000 + ".seg.png", b"")))
    assert len(raw.place) < 300
