"""Pictures embedded in the page: conditions as people see them, within the budget, labels never blended."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from dentgen.conditions.labels import BACKGROUND_RGB, GUM_RGB, TOOTH_RGB
from dentgen.records import IMAGE_FORMATS, MEDIA_TYPE, TRAINED_ALGORITHMIC_MEDIA
from dentgen.report.html import pictures
from dentgen.report.html.pick_records import ChosenRecord, ChosenSample
from dentgen.report.html.pictures import decode_picture, draw_conditions, embed_records, picture_member
from dentgen.shards.tar import image_bytes, png_bytes
from tests.report.fake_builds import members, written


def chosen_record(content: dict[str, bytes]) -> ChosenRecord:
    return ChosenRecord("k", "frontal", "g", (ChosenSample("k-v000", "variant 0", "teeth", content),))


def opened(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


@pytest.mark.parametrize("image_format", IMAGE_FORMATS)
def test_picture_of_a_sample_in_every_format(image_format: str) -> None:
    grey = np.full((16, 16, 3), 99, np.uint8)
    content = members(written(0)[0])
    del content["png"]
    content[image_format] = image_bytes(grey, image_format, TRAINED_ALGORITHMIC_MEDIA)
    assert picture_member(content) == (MEDIA_TYPE[image_format], content[image_format])  # type: ignore[index]
    assert np.abs(decode_picture(content).astype(int) - grey).max() <= 1


def test_small_pictures_are_embedded_unchanged() -> None:
    small = members(written(0)[0], (64, 64))
    (record,) = embed_records([chosen_record(small)], ["segmentation", "lighting"])
    assert record.variants[0].uri == "data:image/png;base64," + base64.b64encode(small["png"]).decode()
    shown = [(picture.name, picture.is_map) for picture in record.conditions]
    assert shown == [("segmentation", True), ("lighting", False)]


def test_large_pictures_are_reduced_to_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    large = members(written(0)[0], (512, 512))
    monkeypatch.setattr(pictures, "PICTURE_BUDGET", 60_000)
    (record,) = embed_records([chosen_record(large)], ["segmentation", "lighting"])
    assert record.variants[0].uri.startswith("data:image/webp;")
    assert all(max(opened(picture.uri).size) <= 256 for picture in (*record.conditions, *record.variants))
    assert sum(len(picture.uri) for picture in (*record.conditions, *record.variants)) < 90_000
    colours = opened(record.conditions[0].uri).convert("RGB").getcolors()
    assert {colour for _, colour in colours or ()} == {BACKGROUND_RGB, GUM_RGB, TOOTH_RGB}, "no blended labels"


def test_reduced_pictures_keep_their_digital_source_type() -> None:
    content = members(written(0)[0])
    noise = np.random.default_rng(0).integers(0, 255, (300, 300, 3), np.uint8)
    content["png"] = png_bytes(noise, TRAINED_ALGORITHMIC_MEDIA)
    (record,) = embed_records([chosen_record(content)], ["lighting"])
    assert record.variants[0].uri.startswith("data:image/webp;")
    assert TRAINED_ALGORITHMIC_MEDIA.encode() in base64.b64decode(record.variants[0].uri.partition(",")[2])


def test_every_condition_can_be_seen() -> None:
    content = members(written(0)[0])
    content["depth.png"] = png_bytes(np.full((16, 16), 0xC0FF, np.uint16))
    content["normal.png"] = content["png"]
    drawn = draw_conditions(content)
    assert drawn.keys() == {"segmentation", "lighting", "normal", "depth"}
    assert (np.asarray(drawn["depth"]) == 0xC0).all()
    (record,) = embed_records([chosen_record(content)], ["depth", "normal"])
    depth = next(picture for picture in record.conditions if picture.name == "depth")
    assert np.abs(np.asarray(opened(depth.uri)).astype(int) - 0xC0).max() <= 2


def test_segmentation_that_is_neither_used_nor_known_is_left_out() -> None:
    content = members(written(0)[0])
    content["seg.png"] = png_bytes(np.full((16, 16), 255, np.uint8))
    for used, names in ((["lighting"], ["lighting"]), (["segmentation"], ["segmentation", "lighting"])):
        (record,) = embed_records([chosen_record(content)], used)  # type: ignore[arg-type]
        assert [picture.name for picture in record.conditions] == names
