"""Sheets of condition records: every chosen record is there, with all its maps in their places."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from dentgen.cli.app import app
from dentgen.conditions.labels import colour_segmentation
from dentgen.errors import ConditionError, SpecError
from dentgen.report.record_sheet import write_sheet
from tests.conftest import DEMO, write_tar

SIZE = 128  # the demo's own, so that nothing is resized


def test_every_record_lies_beside_its_maps(tmp_path: Path, demo_members: dict[str, dict[str, bytes]]) -> None:
    out = tmp_path / "sheet.png"
    chosen = write_sheet(str(DEMO), str(out), count=4, size=SIZE, columns=2)
    assert chosen == write_sheet(str(DEMO), str(tmp_path / "again.png"), count=4, size=SIZE, columns=2)
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


def test_every_tooth_has_a_colour_of_its_own(tmp_path: Path, demo_members: dict[str, dict[str, bytes]]) -> None:
    key = next(key for key in demo_members if key.endswith("frontal"))
    write_tar(tmp_path / "one" / "a.tar", {key: demo_members[key]})
    out = tmp_path / "sheet.png"
    write_sheet(str(tmp_path / "one"), str(out), count=1, size=SIZE, columns=1)
    tile = np.asarray(Image.open(out))[3 : 3 + SIZE, 3 + 2 * (SIZE + 3) :][:, :SIZE]
    fdi = np.asarray(Image.open(io.BytesIO(demo_members[key]["fdi.png"])))
    teeth = np.unique(fdi[fdi > 0])
    assert len({tuple(tile[fdi == tooth][0].tolist()) for tooth in teeth}) == len(teeth) > 12


def test_the_command_draws_what_maps_there_are(tmp_path: Path, demo_members: dict[str, dict[str, bytes]]) -> None:
    key, other = sorted(demo_members)[:2]
    bare = {name: demo_members[key][name] for name in ("seg.png", "light.png")}
    more = {name: demo_members[other][name] for name in ("seg.png", "light.png", "depth.png")}
    write_tar(tmp_path / "bare" / "a.tar", {key: bare, other: more})
    out = tmp_path / "bare.jpg"
    run = CliRunner().invoke(app, ["sheet", str(tmp_path / "bare"), str(out), "--size", "32", "--columns", "1"])
    assert "2 records" in run.output, run.output
    picture = Image.open(out)
    assert picture.format == "JPEG"
    assert picture.size == (3 + 3 * 35 + 12, 2 * 35 + 3)


def test_what_cannot_be_drawn_is_named(tmp_path: Path, demo_members: dict[str, dict[str, bytes]]) -> None:
    with pytest.raises(SpecError, match=r"\.png"):
        write_sheet(str(DEMO), str(tmp_path / "sheet.txt"))
    key = sorted(demo_members)[0]
    write_tar(tmp_path / "photos" / "a.tar", {key: {"photo.png": demo_members[key]["photo.png"]}})
    with pytest.raises(ConditionError, match="at least one map"):
        write_sheet(str(tmp_path / "photos"), str(tmp_path / "sheet.png"))
    (tmp_path / "photos" / "a.tar").write_bytes(b"no tar")
    with pytest.raises(ConditionError, match=r"a\.tar"):
        write_sheet(str(tmp_path / "photos"), str(tmp_path / "sheet.png"))
