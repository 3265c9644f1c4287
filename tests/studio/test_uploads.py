"""Uploaded files: label maps in values or colours, light from photographs, nothing else carried over."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from dentgen.conditions.labels import colour_segmentation
from dentgen.errors import ConditionError
from dentgen.shards.tar import png_bytes
from dentgen.spec.build import BuildSpec
from dentgen.studio.saving import record_tar
from dentgen.studio.uploads import uploaded
from tests.studio.documents import small_record

SPEC = BuildSpec.model_validate({"conditions": {"size": [32, 48]}})
SEG = np.asarray(small_record().conditions["segmentation"], np.uint8)


def photo(secret: bytes = b"") -> bytes:
    picture = np.full((64, 96, 3), 90, np.uint8)
    picture[:, 48:] = 180
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[0x013B] = secret.decode()  # artist
    Image.fromarray(picture).save(buffer, format="JPEG", exif=exif, quality=95)
    return buffer.getvalue()


@pytest.mark.parametrize("content", [png_bytes(SEG), png_bytes(colour_segmentation(SEG))])
def test_classes_come_as_values_or_colours(content: bytes) -> None:
    record = uploaded({"segmentation": content, "photo": photo()}, SPEC)
    assert np.array_equal(record.conditions["segmentation"], SEG)


def test_light_is_estimated_from_the_photograph() -> None:
    light = uploaded({"segmentation": png_bytes(SEG), "photo": photo()}, SPEC).conditions["lighting"].astype(float)
    assert light[10, 34] > 1.5 * light[10, 14], "the bright half"
    assert not light[24:].any(), "nothing is annotated there"


def test_exif_is_left_behind() -> None:
    spec = BuildSpec.model_validate({"conditions": {"size": [32, 48]}, "sampling": {"start_from": "photo"}})
    content = photo(b"Jane Doe, born 1970")
    assert b"Jane Doe" in content
    record = uploaded({"segmentation": png_bytes(SEG), "photo": content}, spec)
    assert record.photo is not None
    assert b"Jane Doe" not in record_tar(record)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, "segmentation, and some of"),
        ({"segmentation": png_bytes(SEG), "../x": b""}, "segmentation, and some of"),
        ({"segmentation": b"GIF89a"}, "a complete PNG image"),
        ({"segmentation": png_bytes(np.full((8, 8), 77, np.uint8))}, "only ["),
        ({"segmentation": png_bytes(np.full((8, 8, 3), 77, np.uint8))}, "palette colours"),
        ({"segmentation": png_bytes(SEG)}, "a member 'light.png'"),
        ({"segmentation": png_bytes(SEG), "photo": b"<svg/>"}, "a complete PNG or JPEG or WEBP image"),
    ],
)
def test_what_cannot_be_used_is_named(files: dict[str, bytes], expected: str) -> None:
    with pytest.raises(ConditionError) as caught:
        uploaded(files, SPEC)
    assert str(caught.value.expected).startswith(expected)
