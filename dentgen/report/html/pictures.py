"""Members of a sample as people look at them: label maps in colours, and everything small enough for one page.

What the contact sheet and the report share. Refuses to know which records are shown, and where.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dentgen.conditions.labels import IGNORE, SEG_PALETTE
from dentgen.records import CONDITION_MEMBER, ConditionName
from dentgen.report.html.pick_records import ChosenRecord, ChosenSample
from dentgen.shards.reader import Members

#: Bytes of all pictures together; base64 makes a third more of them.
PICTURE_BUDGET: Final = 4_000_000
_EDGE: Final = 256
#: Edge and WebP quality to try, until a picture takes no more than its part of the budget.
_SMALLER: Final = ((_EDGE, 85), (_EDGE, 65), (160, 65), (128, 50))
_MEDIA: Final = {"png": "image/png", "jpg": "image/jpeg", "webp": "image/webp"}


@dataclass(frozen=True, slots=True)
class Picture:
    """One tile of the page.

    Attributes:
        name: What it is: a condition or a variant.
        key: Sample or record that it belongs to.
        prompt: Prompt of a sample, "" for a condition.
        uri: The picture as a ``data:`` URI.
        is_map: A label map, whose pixels must not be smoothed.
    """

    name: str
    key: str
    prompt: str
    uri: str
    is_map: bool


@dataclass(frozen=True, slots=True)
class RecordPictures:
    """A record's conditions and the pictures made from it."""

    key: str
    view: str
    prompt: str
    conditions: tuple[Picture, ...]
    variants: tuple[Picture, ...]


def picture_member(members: Members) -> tuple[str, bytes]:
    """Media type and bytes of a sample's generated picture."""
    extension = next(extension for extension in _MEDIA if extension in members)
    return _MEDIA[extension], members[extension]


def decode_picture(members: Members) -> NDArray[np.uint8]:
    """The generated picture, (H, W, 3)."""
    return np.asarray(Image.open(io.BytesIO(picture_member(members)[1])).convert("RGB"))


def draw_conditions(members: Members) -> dict[ConditionName, Image.Image]:
    """The sample's conditions as images for the eye: segmentation with its palette, depth in 8 bits."""
    return {
        name: _draw_condition(name, members[f"{member}.png"])
        for name, member in CONDITION_MEMBER.items()
        if f"{member}.png" in members
    }


def embed_records(records: Sequence[ChosenRecord], used: Iterable[ConditionName]) -> list[RecordPictures]:
    """Turn chosen records into pictures that a page can carry.

    Args:
        records: What to show.
        used: Conditions that made the pictures. A segmentation is always in the shards; where it was neither used nor
            known it is not shown.
    """
    shown = [_conditions_to_show(record.samples[0], set(used)) for record in records]
    tiles = sum(len(names) + len(record.samples) for names, record in zip(shown, records, strict=True))
    limit = PICTURE_BUDGET // max(1, tiles)
    return [_embed_record(record, names, limit) for names, record in zip(shown, records, strict=True)]


def _embed_record(record: ChosenRecord, names: Sequence[ConditionName], limit: int) -> RecordPictures:
    first = record.samples[0]
    return RecordPictures(
        key=record.key,
        view=record.view,
        prompt=first.prompt,
        conditions=tuple(_embed_condition(record.key, name, first.members, limit) for name in names),
        variants=tuple(_embed_sample(sample, limit) for sample in record.samples),
    )


def _conditions_to_show(sample: ChosenSample, used: set[ConditionName]) -> list[ConditionName]:
    return [
        name for name, image in draw_conditions(sample.members).items() if name in used or not _is_unknown(name, image)
    ]


def _is_unknown(name: ConditionName, image: Image.Image) -> bool:
    return name == "segmentation" and image.getextrema() == (IGNORE, IGNORE)


def _draw_condition(name: ConditionName, content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    match name:
        case "segmentation":
            drawn = Image.fromarray(np.asarray(image))
            drawn.putpalette(SEG_PALETTE.tobytes())
            return drawn
        case "depth":
            return Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
        case _:
            return image


def _embed_condition(key: str, name: ConditionName, members: Members, limit: int) -> Picture:
    image, content = draw_conditions(members)[name], members[f"{CONDITION_MEMBER[name]}.png"]
    is_map = name == "segmentation"
    if is_map:
        uri = _palette_uri(image)
    elif name == "depth":  # browsers show the high byte of 16 bits or nothing at all
        uri = _smaller_uri(image, limit)
    else:
        uri = _uri("image/png", content) if _fits(image, content, limit) else _smaller_uri(image, limit)
    return Picture(name, key, "", uri, is_map)


def _embed_sample(sample: ChosenSample, limit: int) -> Picture:
    media, content = picture_member(sample.members)
    image = Image.open(io.BytesIO(content))
    uri = _uri(media, content) if _fits(image, content, limit) else _smaller_uri(image, limit)
    return Picture(sample.name, sample.key, sample.prompt, uri, is_map=False)


def _fits(image: Image.Image, content: bytes, limit: int) -> bool:
    return max(image.size) <= _EDGE and len(content) <= limit


def _palette_uri(image: Image.Image) -> str:
    """Labels are made smaller by taking every n-th pixel, and never lossy."""
    drawn = image.copy()
    drawn.thumbnail((_EDGE, _EDGE), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    drawn.save(buffer, format="PNG", optimize=True)
    return _uri("image/png", buffer.getvalue())


def _smaller_uri(image: Image.Image, limit: int) -> str:
    """WebP of about the limit; the mark that says how the picture came about stays in it."""
    content = b""
    for edge, quality in _SMALLER:
        drawn, buffer = image.convert("RGB"), io.BytesIO()
        drawn.thumbnail((edge, edge), Image.Resampling.LANCZOS)
        drawn.save(buffer, format="WEBP", quality=quality, method=4, xmp=image.info.get("xmp", b""))
        content = buffer.getvalue()
        if len(content) <= limit:
            break
    return _uri("image/webp", content)


def _uri(media: str, content: bytes) -> str:
    return f"data:{media};base64,{base64.b64encode(content).decode()}"
