"""Painted regions in files: read as they were written, whatever holds them, and refused where they are wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dentgen.conditions.decode import decode_record
from dentgen.conditions.painted import check_painted, clear_painted, painted_bits, painted_entries
from dentgen.conditions.prepare import fit_record
from dentgen.conditions.readers.raw import RawRecord
from dentgen.conditions.readers.source import list_shards, read_records
from dentgen.errors import ConditionError
from dentgen.records import MAX_PAINTED, PaintedRegion
from dentgen.shards.tar import png_bytes
from tests.conditions.painted_records import RED, WHITE, band, region, with_painted
from tests.conftest import write_tar

SIZE = 8
SEG = png_bytes(np.zeros((SIZE, SIZE), np.uint8))
REGIONS = (
    region(band(SIZE), negative_prompt="blurry", strength=0.75, prompt_strength=0.5, blur=2.0),
    region(band(SIZE, 0.25, 1.0), "teeth", WHITE),
    region(band(SIZE, 0, 0), "empty", ""),
)


def raw(**members: bytes) -> RawRecord:
    """A record with a segmentation, painted regions and other members, whose dots are underscores."""
    given = {name.replace("_", "."): content for name, content in members.items()}
    return RawRecord("k", "x.tar: k", {**with_painted({"seg.png": SEG}, REGIONS), **given})


def decoded(record: RawRecord) -> tuple[PaintedRegion, ...]:
    return decode_record(record, ("segmentation",), with_painted=True).painted


def assert_same(found: tuple[PaintedRegion, ...], expected: tuple[PaintedRegion, ...]) -> None:
    assert painted_entries(found) == painted_entries(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.mask.dtype == np.float32
        assert np.array_equal(one.mask, other.mask)


def metadata(entries: Any) -> bytes:
    return json.dumps({"painted": entries}).encode()


def entry(**values: Any) -> dict[str, Any]:
    return {"name": "a", "prompt": RED, **values}


def test_what_was_written_is_read(tmp_path: Path) -> None:
    """From a tar, a table and loose files."""
    members = raw().members
    write_tar(tmp_path / "tar" / "x.tar", {"k": members})
    (tmp_path / "folder").mkdir()
    for name, content in members.items():
        (tmp_path / "folder" / f"k.{name}").write_bytes(content)
    (tmp_path / "table").mkdir()
    columns = {"__key__": ["k"], **{name: [content] for name, content in members.items()}}
    pq.write_table(pa.table(columns), tmp_path / "table" / "x.parquet")
    for form in ("tar", "folder", "table"):
        (shard,) = list_shards(str(tmp_path / form))
        (found,) = read_records(shard)
        assert_same(decoded(found), REGIONS)


def test_bits_are_regions_in_their_order() -> None:
    bits = painted_bits(REGIONS, (SIZE, SIZE))
    assert bits[0].tolist() == [1, 1, 3, 3, 2, 2, 2, 2]
    eight = [region(band(SIZE, n / 8, (n + 1) / 8), str(n)) for n in range(MAX_PAINTED)]
    assert painted_bits(eight, (SIZE, SIZE))[0].tolist() == [1, 2, 4, 8, 16, 32, 64, 128]
    soft = region(np.full((SIZE, SIZE), 0.49, np.float32))
    assert not painted_bits([soft], (SIZE, SIZE)).any()


def test_regions_are_not_read_unless_they_are_asked_for() -> None:
    damaged = raw(painted_png=b"junk", json=metadata([{"prompt": 3}]))
    assert decode_record(damaged, ("segmentation",)).painted == ()


def test_records_need_not_have_any() -> None:
    plain = RawRecord("k", "x.tar: k", {"seg.png": SEG})
    assert decoded(plain) == ()
    blank = png_bytes(np.zeros((SIZE, SIZE), np.uint8))
    assert decoded(raw(json=b"{}", painted_png=blank)) == ()
    assert decoded(raw(json=metadata(None), painted_png=blank)) == ()


#: Members that are replaced, file of the error, and facts in what was found and what was expected.
DAMAGED: dict[str, tuple[dict[str, bytes], str, str, str]] = {
    "no image": ({"painted_png": b"junk"}, "k.painted.png", "", "PNG"),
    "colour": ({"painted_png": png_bytes(np.full((8, 8, 3), (0, 1, 2), np.uint8))}, "k.painted.png", "RGB", "grey"),
    "another size": ({"painted_png": png_bytes(np.zeros((4, 8), np.uint8))}, "k", "'painted': (4, 8)", "same size"),
    "a bit without an entry": ({"json": metadata([entry()])}, "k.painted.png", "[2, 3]", "at most 1"),
    "bits without entries": ({"json": b"{}"}, "k.painted.png", "[1, 2, 3]", "at most 0"),
    "no list": ({"json": metadata({"name": "a"})}, "k.json", "painted", "tuple"),
    "no prompt": ({"json": metadata([{"name": "a"}])}, "k.json", "painted.0.prompt", ""),
    "no name": ({"json": metadata([entry(name="")])}, "k.json", "painted.0.name", "1 character"),
    "a name twice": ({"json": metadata([entry(), entry()])}, "k.json", "['a', 'a']", "once"),
    "an unknown field": ({"json": metadata([entry(mask="x")])}, "k.json", "painted.0.mask", ""),
    "a long prompt": ({"json": metadata([entry(prompt="x" * 10_001)])}, "k.json", "10001 characters", "10000"),
    "too strong": ({"json": metadata([entry(strength=1.5)])}, "k.json", "painted.0.strength: 1.5", "1"),
    "too weak": ({"json": metadata([entry(prompt_strength=-0.5)])}, "k.json", "painted.0.prompt_strength: -0.5", "0"),
    "too soft": ({"json": metadata([entry(blur=65)])}, "k.json", "painted.0.blur: 65", "64"),
    "too many": ({"json": metadata([entry(name=str(n)) for n in range(9)])}, "k.json", "9 painted", "at most 8"),
}  # fmt: skip


@pytest.mark.parametrize("case", DAMAGED)
def test_what_does_not_fit_together_is_refused(case: str) -> None:
    members, file, found, expected = DAMAGED[case]
    with pytest.raises(ConditionError) as caught:
        decoded(raw(**members))
    assert caught.value.file == f"x.tar: {file}"
    assert found in str(caught.value.found)
    assert expected in str(caught.value.expected)


def test_entries_need_a_map() -> None:
    record = raw()
    del record.members["painted.png"]
    with pytest.raises(ConditionError) as caught:
        decoded(record)
    assert (caught.value.file, caught.value.found) == ("x.tar: k.json", "3 painted regions without a map")


def test_masks_are_fitted_as_labels_are() -> None:
    record = decode_record(raw(), ("segmentation",), with_painted=True)
    larger = fit_record(record, (16, 24), "pad")
    for before, after in zip(record.painted, larger.painted, strict=True):
        inner = before.mask.repeat(2, 0).repeat(2, 1)
        assert after.mask.dtype == np.float32
        assert np.array_equal(after.mask[:, 4:20], inner)
        assert not after.mask[:, :4].any()
        assert not after.mask[:, 20:].any()
    smaller = fit_record(record, (4, 4), "stretch")
    assert set(np.unique([each.mask for each in smaller.painted]).tolist()) == {0, 1}
    assert_same(fit_record(record, (SIZE, SIZE), "pad").painted, record.painted)


def test_regions_from_python_are_checked_alike() -> None:
    check_painted(REGIONS, (SIZE, SIZE))
    check_painted([region(np.full((SIZE, SIZE), 0.5, np.float32))], (SIZE, SIZE))
    good = REGIONS[0]
    wrong: list[tuple[PaintedRegion, str, str]] = [
        (replace(good, mask=band(4)), "painted: gum: mask", "(4, 4)"),
        (replace(good, mask=good.mask * 2), "painted: gum: mask", "0..2"),
        (replace(good, mask=good.mask * np.float32(np.nan)), "painted: gum: mask", "nan"),
        (replace(good, strength=2.0), "painted", "painted.0.strength: 2.0"),
        (replace(good, blur=float("nan")), "painted", "painted.0.blur: nan"),
    ]
    for one, file, found in wrong:
        with pytest.raises(ConditionError) as caught:
            check_painted([one], (SIZE, SIZE))
        assert caught.value.file == file
        assert found in str(caught.value.found)
    with pytest.raises(ConditionError) as caught:
        check_painted([good, good], (SIZE, SIZE))
    assert caught.value.expected == "every name once"


def test_what_is_hidden_is_not_painted() -> None:
    hidden = band(SIZE, 0, 0.25) > 0
    cleared = clear_painted(REGIONS[0], hidden)
    assert np.array_equal(cleared.mask, band(SIZE, 0.25, 0.5))
    assert cleared.mask.dtype == np.float32


@pytest.mark.parametrize("mask", [np.zeros((4, 4), np.int64), np.zeros((4, 4), np.float16), [[0.0]]])
def test_masks_from_python_are_float32_arrays(mask: Any) -> None:
    with pytest.raises(ConditionError) as caught:
        check_painted([PaintedRegion("a", RED, mask)], (4, 4))
    assert caught.value.expected == "a float32 array (H, W)"
