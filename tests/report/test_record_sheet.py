"""The record sheet: every chosen record with all its maps in their places."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dentgen.conditions.labels import colour_segmentation
from dentgen.conditions.motion import motion_levels
from dentgen.errors import ConditionError, SpecError
from dentgen.report.record_sheet import write_sheet
from dentgen.shards.tar import png_bytes
from tests.conftest import JAWS, write_tar

SIZE = 128  # that of the records, so that nothing is resized


def test_strip_holds_photo_and_maps_of_a_record(tmp_path: Path, demo_members: dict[str, dict[str, bytes]]) -> None:
    out = tmp_path / "sheet.png"
    chosen = write_sheet(str(JAWS), str(out), count=4, size=SIZE, columns=2)
    assert chosen == write_sheet(str(JAWS), str(tmp_path / "again.png"), count=4, size=SIZE, columns=2)
    assert len(set(chosen)) == 4
    drawn = np.asarray(Image.open(out))
    step = SIZE + 3
    for place, key in enumerate(chosen):
        top, left = 3 + place // 2 * step, 3 + place % 2 * (7 * step + 12)
        tiles = [drawn[top : top + SIZE, left + n * step : left + n * step + SIZE] for n in range(7)]
        members = {name: np.asarray(Image.open(io.BytesIO(demo_members[key][f"{name}.png"]))) for name in
                   ("photo", "seg", "fdi", "light", "normal", "curvature", "depth")}  # fmt: skip
        assert (tiles[0] == members["photo"]).all()
        assert (tiles[1] == colour_segmentation(members["seg"])).all()
        assert (tiles[2].any(-1) == (members["fdi"] > 0)).all()
        assert (tiles[3] == members["light"][..., None]).all()
        assert (tiles[4] == members["normal"]).all()
        assert (tiles[5] == members["curvature"][..., None]).all()
        assert (tiles[6] == (members["depth"] >> 8)[..., None]).all()


def test_every_tooth_has_its_own_colour(tmp_path: Path, demo_members: dict[str, dict[str, bytes]]) -> None:
    key = next(key for key in demo_members if key.endswith("frontal"))
    write_tar(tmp_path / "one" / "a.tar", {key: demo_members[key]})
    out = tmp_path / "sheet.png"
    write_sheet(str(tmp_path / "one"), str(out), count=1, size=SIZE, columns=1)
    tile = np.asarray(Image.open(out))[3 : 3 + SIZE, 3 + 2 * (SIZE + 3) :][:, :SIZE]
    fdi = np.asarray(Image.open(io.BytesIO(demo_members[key]["fdi.png"])))
    teeth = np.unique(fdi[fdi > 0])
    assert len({tuple(tile[fdi == tooth][0].tolist()) for tooth in teeth}) == len(teeth) > 12


def test_sheet_has_only_columns_that_a_record_fills(tmp_path: Path, demo_members: dict[str, dict[str, bytes]]) -> None:
    key, other = sorted(demo_members)[:2]
    bare = {name: demo_members[key][name] for name in ("seg.png", "light.png")}
    more = {name: demo_members[other][name] for name in ("seg.png", "light.png", "depth.png")}
    write_tar(tmp_path / "bare" / "a.tar", {key: bare, other: more})
    out = tmp_path / "bare.jpg"
    assert write_sheet(str(tmp_path / "bare"), str(out), size=32, columns=1) == [key, other]
    picture = Image.open(out)
    assert picture.format == "JPEG"
    assert picture.size == (3 + 3 * 35 + 12, 2 * 35 + 3)


def test_unknown_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        write_sheet(str(JAWS), str(tmp_path / "sheet.txt"))
    assert caught.value.file == str(tmp_path / "sheet.txt")
    assert ".txt" in caught.value.found
    assert ".png" in caught.value.expected


def test_record_without_maps_is_named(tmp_path: Path, demo_members: dict[str, dict[str, bytes]]) -> None:
    key = sorted(demo_members)[0]
    write_tar(tmp_path / "photos" / "a.tar", {key: {"photo.png": demo_members[key]["photo.png"]}})
    with pytest.raises(ConditionError) as caught:
        write_sheet(str(tmp_path / "photos"), str(tmp_path / "sheet.png"))
    assert key in caught.value.file
    assert "photo.png" in caught.value.found


def test_damaged_shard_is_named(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.tar").write_bytes(b"no tar")
    with pytest.raises(ConditionError) as caught:
        write_sheet(str(tmp_path / "photos"), str(tmp_path / "sheet.png"))
    assert caught.value.file.endswith("a.tar")


def test_a_sheet_never_replaces_or_joins_loose_records(
    tmp_path: Path, demo_members: dict[str, dict[str, bytes]]
) -> None:
    key = min(demo_members)
    for name, content in demo_members[key].items():
        (tmp_path / f"{key}.{name}").write_bytes(content)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for name in (f"{key}.seg.png", "sheet.png", "../" + tmp_path.name + "/sheet.png"):
        with pytest.raises(SpecError) as caught:
            write_sheet(str(tmp_path), f"{tmp_path}/{name}", size=32)
        assert caught.value.key == "OUT"
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_motion_is_drawn_grey_where_still_black_where_hidden_and_by_its_direction(
    tmp_path: Path, demo_members: dict[str, dict[str, bytes]]
) -> None:
    motion = np.zeros((SIZE, SIZE, 2), np.float32)
    motion[:, 40:] = (6.0, 0.0)
    motion[:, 80:] = (-6.0, 0.0)
    motion[:, 120:] = np.nan
    right, down = motion_levels(motion)
    key = min(demo_members)
    moved = {"motion_x.png": png_bytes(right), "motion_y.png": png_bytes(down)}
    write_tar(tmp_path / "one" / "a.tar", {key: {**demo_members[key], **moved}})
    write_sheet(str(tmp_path / "one"), str(tmp_path / "sheet.png"), count=1, size=SIZE, columns=1)
    tile = np.asarray(Image.open(tmp_path / "sheet.png"))[3 : 3 + SIZE, 3 + 7 * (SIZE + 3) :][:, :SIZE]
    still, one, other, hidden = (tile[:, start : start + 8].reshape(-1, 3) for start in (0, 40, 80, 120))
    assert (still == 128).all()
    assert (hidden == 0).all()
    assert len(np.unique(np.concatenate([one, other]), axis=0)) == 2
