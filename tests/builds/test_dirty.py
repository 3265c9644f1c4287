"""Every kind of damage once among forty good records: each is named, and the good records are untouched."""

from __future__ import annotations

import io
import json
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image

from dentgen.conditions.decode import MAX_PIXELS
from dentgen.documents.samples import SampleStatus
from dentgen.errors import BuildError
from dentgen.pipeline.run import build
from dentgen.shards.ledger import read_ledgers
from dentgen.shards.plan_file import read_plan
from dentgen.shards.reader import read_samples
from tests.conftest import problems, small_spec, write_tar

Members = dict[str, bytes]
Records = dict[str, Members]
ONE_VARIANT: dict[str, dict[str, object]] = {
    "sampling": {"variants": 1, "steps": 1},
    "pipeline": {"samples_per_shard": 16},
    "engine": {"slots": 8},
}


def png(image: Image.Image | NDArray[Any], **options: Any) -> bytes:
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, format="PNG", **options)
    return buffer.getvalue()


def as_image(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def turned(data: bytes) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    return png(as_image(data), exif=exif)


def bomb() -> bytes:
    """A few bytes that would become 16 gigapixels."""
    header = bytearray(png(Image.new("L", (8, 8))))
    header[16:24] = (2**17).to_bytes(4, "big") * 2
    header[29:33] = zlib.crc32(bytes(header[12:29])).to_bytes(4, "big")
    return bytes(header)


def damaged_records(good: Members) -> dict[str, tuple[Members, tuple[str, ...]]]:
    """Key to members, and to facts that the reason must hold."""
    seg, light = np.asarray(as_image(good["seg.png"])), np.asarray(as_image(good["light.png"]))
    strange = seg.copy()
    strange[5, 5] = 77
    long_prompt = json.dumps({"prompt": "teeth " * 90}).encode()

    def changed(**members: bytes) -> Members:
        return {**good, **{name.replace("_", "."): content for name, content in members.items()}}

    def without(name: str) -> Members:
        return {member: content for member, content in good.items() if member != name}

    return {
        "truncated": (changed(light_png=good["light.png"][:200]), ("light.png", "PNG")),
        "no-image": (changed(seg_png=b"this is text"), ("seg.png", "PNG")),
        "wrong-size": (changed(light_png=png(light[:64])), ("'light': (64, 128)",)),
        "unknown-class": (changed(seg_png=png(strange)), ("seg.png", "[77]", "[0, 1, 2, 3, 4, 5, 6, 7, 8, 255]")),
        "unknown-tooth": (changed(fdi_png=png(strange)), ("fdi.png", "77", "FDI")),
        "missing": (without("light.png"), ("light.png",)),
        "extra": (changed(notes_txt=b"x"), ("notes.txt",)),
        "sixteen-bit": (changed(seg_png=png(seg.astype(np.uint16) * 257)), ("seg.png", "[257, 514")),
        "palette": (
            changed(light_png=png(as_image(good["light.png"]).convert("P"))),
            ("light.png", "mode P", "mode L"),
        ),
        "rgba": (changed(light_png=png(as_image(good["light.png"]).convert("RGBA"))), ("light.png", "mode RGBA")),
        "turned": (changed(seg_png=turned(good["seg.png"])), ("seg.png", "orientation 6")),
        "bomb": (changed(normal_png=bomb()), ("normal.png", "131072 x 131072", str(MAX_PIXELS))),
        "no-json": (changed(json=b"{'a'"), ("json",)),
        "long-prompt": (changed(json=long_prompt), ("77",)),
        "two\nlines": (good, ("'two\\nlines'",)),
        "k" * 90: (good, ("'kkk", "80 bytes")),
        "../../outside": (good, ("'../../outside'",)),
        "/etc/absolute": (good, ("'/etc/absolute'",)),
    }


def damaged_shards(folder: Path, good: Records) -> dict[str, tuple[str, ...]]:
    """Shards that are damaged as a whole, with words of the reason; their readable records are in ``good``."""
    (folder / "zero.tar").write_bytes(b"")
    (folder / "empty.tar").write_bytes(bytes(10240))
    (folder / "garbage.tar").write_bytes(b"no archive " * 1000)
    (folder / "garbage.parquet").write_bytes(b"PAR1 no table")
    whole = write_tar(folder / "cut.tar", {"cut-off": next(iter(good.values()))}).read_bytes()
    (folder / "cut.tar").write_bytes(whole[: len(whole) // 2])
    header = bytearray(write_tar(folder / "header.tar", {"broken-header": next(iter(good.values()))}).read_bytes())
    second = 512 + -(-int(header[124:135], 8) // 512) * 512
    header[second + 20] ^= 0xFF
    (folder / "header.tar").write_bytes(bytes(header))
    return {
        "zero.tar": ("empty", "tar"),
        "empty.tar": ("no record",),
        "garbage.tar": ("byte 0", "tar"),
        "garbage.parquet": ("Parquet",),
        "cut.tar": ("byte", "tar"),
        "header.tar": (f"byte {second}", "tar"),
    }


@pytest.fixture(scope="module")
def good(demo_members: Records) -> Records:
    """Forty records: the twenty of ``JAWS`` under two names each."""
    return {f"{copy}-{key}": members for copy in "ab" for key, members in sorted(demo_members.items())}


@pytest.fixture(scope="module")
def clean(good: Records, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Members]:
    """Samples of a build of the good records alone."""
    folder = tmp_path_factory.mktemp("clean")
    write_tar(folder / "s" / "good.tar", good)
    build(small_spec(folder / "s", folder / "out", **ONE_VARIANT), use_ray=False)
    return dict(read_samples(str(folder / "out")))


def interleaved(good: Records, bad: Records) -> Iterator[tuple[str, Members]]:
    """A damaged record after every second good one."""
    rest = iter(bad.items())
    for number, item in enumerate(good.items()):
        yield item
        if number % 2:
            yield from [following] if (following := next(rest, None)) else []


def add(archive: tarfile.TarFile, key: str, members: Members) -> None:
    for extension, content in sorted(members.items()):
        info = tarfile.TarInfo(f"{key}.{extension}")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))


@pytest.mark.slow
def test_every_kind_of_damage_is_named_and_nothing_else_is_touched(
    good: Records, clean: dict[str, Members], tmp_path: Path
) -> None:
    source, out = tmp_path / "s", tmp_path / "out"
    source.mkdir()
    first_key, first = next(iter(good.items()))
    cases = damaged_records(first)
    with tarfile.open(source / "a.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        for key, members in interleaved(good, {key: members for key, (members, _) in cases.items()}):
            add(archive, key, members)
        add(archive, first_key, first)  # a duplicate within the shard
        info = tarfile.TarInfo("linked.seg.png")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(info)
        add(archive, "linked", {"light.png": first["light.png"]})
    write_tar(source / "b.tar", {first_key: first})  # a duplicate in another shard
    shards = damaged_shards(source, good)
    index = build(small_spec(source, out, **ONE_VARIANT), use_ray=False).index
    rejected = [s for s in statuses(out) if s.status == "rejected"]

    for key, (_, facts) in cases.items():
        (reason,) = [s.reason for s in rejected if s.source_key == (key if key.isprintable() else repr(key)[1:-1])]
        assert all(fact in reason for fact in ("a.tar", *facts)), reason
    for shard, facts in shards.items():
        (reason,) = [s.reason for s in rejected if shard in s.reason]
        assert all(fact in reason for fact in facts), reason
    duplicates = [s.reason for s in rejected if s.source_key == first_key]
    assert [reason.split(":")[0] for reason in duplicates] == ["a.tar", "b.tar"]
    assert sum("linked" in s.key for s in rejected) == 1

    count = len(cases) + len(shards) + 2 + 1
    assert (index.planned, index.written, index.rejected) == (40 + count, 40, count)
    assert len({s.key for s in statuses(out)}) == 40 + count, "every planned sample has a name of its own"
    assert dict(read_samples(str(out))) == clean, "the good ones are byte for byte those of a clean build"
    table = pq.read_table(out / "samples.parquet").to_pylist()
    assert sorted(row["reason"] for row in table if row["status"] == "rejected") == sorted(s.reason for s in rejected)
    assert problems(out) == []


def statuses(out: Path) -> list[SampleStatus]:
    units = (unit.name for unit in read_plan(str(out)).units)
    return [sample for record in read_ledgers(str(out), units) for sample in record.samples]


def test_a_source_of_damage_alone_gives_no_build(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "x.tar").write_bytes(b"no archive " * 1000)
    with pytest.raises(BuildError) as caught:
        build(small_spec(tmp_path / "s", tmp_path / "out", **ONE_VARIANT), use_ray=False)
    assert "1 rejected samples" in caught.value.found
    assert "x.tar" in caught.value.found
    assert not (tmp_path / "out").exists()
