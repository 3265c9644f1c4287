"""Sheets of condition records: every chosen record is there, with all its maps in their places."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from dentgen.cli import app
from dentgen.conditions.labels import colour_segmentation
from dentgen.errors import SpecError
from dentgen.seeding import numpy_generator
from dentgen.studio.sheet import write_sheet
from tests.conftest import DEMO, write_tar

SIZE = 128  # the demo's own, so that nothing is resized


def test_every_record_lies_beside_its_maps(tmp_path: Path, demo_members: dict[str, dict[str, bytes]]) -> None:
    out = tmp_path / "sheet.png"
    assert write_sheet(str(DEMO), str(out), count=4, size=SIZE, columns=2) == 4
    drawn = np.asarray(Image.open(out))
    step = SIZE + 3
    keys = list(demo_members)
    chosen = [keys[n] for n in sorted(numpy_generator("sheet").permutation(20)[:4].tolist())]
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


def test_neighbouring_teeth_have_different_colours(tmp_path: Path, demo_members: dict[str, dict[str, bytes]]) -> None:
    out = tmp_path / "sheet.png"
    write_sheet(str(DEMO), str(out), count=1, size=SIZE, columns=1)
    chosen = int(numpy_generator("sheet").permutation(20)[0])
    tile = np.asarray(Image.open(out))[3 : 3 + SIZE, 3 + 2 * 131 : 3 + 2 * 131 + SIZE]
    fdi = np.asarray(Image.open(io.BytesIO(demo_members[list(demo_members)[chosen]]["fdi.png"])))
    colours = {tuple(tile[fdi == tooth][0].tolist()) for tooth in np.unique(fdi[fdi > 0])}
    quadrants = {int(tooth) % 10 + 10 * (int(tooth) // 10 in {2, 3}) for tooth in np.unique(fdi[fdi > 0])}
    assert len(colours) == len(quadrants)


def test_the_command_draws_what_maps_there_are(tmp_path: Path, demo_members: dict[str, dict[str, bytes]]) -> None:
    key = sorted(demo_members)[0]
    bare = {name: demo_members[key][name] for name in ("seg.png", "light.png")}
    write_tar(tmp_path / "bare" / "a.tar", {key: bare})
    out = tmp_path / "bare.jpg"
    run = CliRunner().invoke(app, ["sheet", str(tmp_path / "bare"), str(out), "--size", "32", "--columns", "1"])
    assert "1 records" in run.output, run.output
    assert Image.open(out).format == "JPEG"


def test_a_sheet_must_be_a_picture(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"\.png"):
        write_sheet(str(DEMO), str(tmp_path / "sheet.txt"))
