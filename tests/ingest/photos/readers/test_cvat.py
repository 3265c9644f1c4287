"""CVAT's masks lie in their rectangle, drawing order follows z, and entities are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dentgen.ingest.photos.annotations import AnnotatedPhoto, Files, Refusal
from dentgen.ingest.photos.readers.cvat import read_cvat

BOMB = '<!DOCTYPE a [<!ENTITY b "xxxxxxxx"><!ENTITY c "&b;&b;&b;">]><annotations>&c;</annotations>'
FILE = '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><annotations>&b;</annotations>'


def read(folder: Path, shapes: str) -> list[AnnotatedPhoto | Refusal]:
    Image.new("RGB", (20, 12)).save(folder / "x.png")
    image = f'<image id="0" name="x.png" width="20" height="12" subset="Validation">{shapes}</image>'
    (folder / "a.xml").write_text(f"<annotations>{image}</annotations>")
    return list(read_cvat(str(folder), Files.under(str(folder))))


def test_masks_and_order(tmp_path: Path) -> None:
    mask = '<mask label="m" rle="1, 2, 3" left="4" top="5" width="3" height="2" z_order="0"/>'
    polygons = [
        f'<polygon label="{name}" points="1,1;3,1;3,3" z_order="{order}"/>' for name, order in (("p", "-1"), ("q", "²"))
    ]
    polygon = "".join(polygons)
    (photo,) = read(tmp_path, mask + polygon + '<box label="b" xtl="0" ytl="0" xbr="1" ybr="1"/>')
    assert isinstance(photo, AnnotatedPhoto)
    assert [thing.label for thing in photo.things] == ["p", "m", "q"]
    expected = np.zeros((12, 20), bool)
    expected[5, 5:7] = True
    assert photo.things[1].mask is not None
    assert (photo.things[1].mask == expected).all()
    assert (photo.skipped, photo.split) == ({"box": 1}, "validation")


@pytest.mark.parametrize(
    "shape",
    [
        '<mask label="m" rle="1,2" left="4" top="5" width="3" height="2"/>', '<polygon label="p" points="1,1;3"/>',
        '<mask label="m" rle="0,6" left="18" top="5" width="3" height="2"/>', '<polygon points="1,1;3,1;3,3"/>',
        '<polygon label="p" points="1,1;nan,1;3,3"/>',
        '<mask label="m" rle="-3,9" left="0" top="0" width="3" height="2"/>',
    ],
)  # fmt: skip
def test_damaged_shapes_refuse_their_photograph(shape: str, tmp_path: Path) -> None:
    (found,) = read(tmp_path, shape)
    assert isinstance(found, Refusal)
    assert found.name == "x.png"


@pytest.mark.parametrize("text", [BOMB, FILE, "<annotations>", "no xml", ""])
def test_entities_and_damage_refuse_the_file(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(text)
    (found,) = read_cvat(str(tmp_path), Files.under(str(tmp_path)))
    assert isinstance(found, Refusal)
    assert found.name == "a.xml"
