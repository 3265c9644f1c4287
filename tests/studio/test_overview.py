"""What the page shows: every class, the state, rectangles of maps byte for byte."""

from __future__ import annotations

import json
import struct

import numpy as np

from dentgen.conditions.labels import SEG_CLASSES
from dentgen.spec.build import BuildSpec
from dentgen.studio.overview import choices, plane_message, state, whole_planes
from dentgen.studio.planes import Rectangle
from tests.studio.documents import small_work


def parts(message: bytes) -> tuple[dict[str, object], bytes]:
    (length,) = struct.unpack("<I", message[:4])
    return json.loads(message[4 : 4 + length]), message[4 + length :]


def test_every_class_has_a_colour_of_its_own() -> None:
    found = choices(BuildSpec.model_validate({"conditions": {"size": [32, 48]}}))
    assert {each["value"]: each["name"] for each in found["classes"]} == SEG_CLASSES
    colours = [tuple(each["colour"]) for each in (*found["classes"], *found["findings"])]
    assert len(set(colours)) == len(colours)
    assert (found["height"], found["width"]) == (32, 48)
    json.dumps(found)


def test_the_state_names_teeth_and_layers() -> None:
    work = small_work()
    work.add_layer("a", "b")
    found = json.loads(json.dumps(state(work)))
    assert (found["teeth"], found["undo"], found["layers"][0]["prompt"]) == ([11, 21], 0, "b")
    assert "layer 1" not in found["planes"]


def test_rectangles_travel_byte_for_byte() -> None:
    plane = np.arange(32 * 48 * 3, dtype=np.uint32).astype(np.uint8).reshape(32, 48, 3)
    header, content = parts(plane_message("normal", plane, Rectangle(3, 5, 9, 20)))
    assert (header["top"], header["left"], header["height"], header["width"], header["channels"]) == (3, 5, 6, 15, 3)
    assert np.array_equal(np.frombuffer(content, np.uint8).reshape(6, 15, 3), plane[3:9, 5:20])


def test_depth_travels_as_its_upper_byte() -> None:
    plane = np.array([[0x1234, 0xFF00]], np.uint16)
    assert parts(plane_message("depth", plane, Rectangle.whole(plane)))[1] == b"\x12\xff"


def test_a_new_browser_gets_every_plane() -> None:
    work = small_work()
    work.add_layer("a", "b")
    names = [parts(message)[0]["name"] for message in whole_planes(work)]
    assert names == ["segmentation", "lighting", "normal", "fdi", "layer 1"]
