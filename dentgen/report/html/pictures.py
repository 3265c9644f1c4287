"""Render members of samples for viewing: label maps in colour, and pictures small enough to embed in a page."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dentgen.conditions.labels import BACKGROUND_RGB, IGNORE, SEG_PALETTE
from dentgen.conditions.lesion_map import paint_lesions
from dentgen.records import CONDITION_MEMBER, IMAGE_FORMATS, MEDIA_TYPE, ConditionName
from dentgen.report.html.pick_records import ChosenRecord, ChosenSample
from dentgen.shards.reader import Members

#: Target for the bytes of all pictures of a page, before base64 adds a third.
PICTURE_BUDGET: Final = 4_000_000
_MAX_EDGE: Final = 256
#: Edges and WebP qualities to try in turn, until a picture fits its share of the budget.
_REDUCTIONS: Final = ((_MAX_EDGE, 85), (_MAX_EDGE, 65), (160, 65), (128, 50))


@dataclass(frozen=True, slots=True)
class Picture:
    """One tile of the page.

    Attributes:
        name: Condition or variant that it shows.
        key: Key of its record or sample.
        prompt: Prompt of the sample, "" for a condition.
        uri: The picture as a ``data:`` URI.
        is_map: Whether it is a label map, which must not be smoothed.
    """

    name: str
    key: str
    prompt: str
    uri: str
    is_map: bool


@dataclass(frozen=True, slots=True)
class RecordPictures:
    """A record's conditions and the pictures generated from it."""

    key: str
    view: str
    prompt: str
    conditions: tuple[Picture, ...]
    variants: tuple[Picture, ...]
    attributes: Mapping[str, str] = field(default_factory=dict)


def picture_member(members: Members) -> tuple[str, bytes]:
    """Media type and bytes of a sample's generated picture."""
    image_format = next(name for name in IMAGE_FORMATS if name in members)
    return MEDIA_TYPE[image_format], members[image_format]


def decode_picture(members: Members) -> NDArray[np.uint8]:
    """A sample's generated picture, (H, W, 3) uint8."""
    return np.asarray(Image.open(io.BytesIO(picture_member(members)[1])).convert("RGB"))


def draw_conditions(members: Members) -> dict[ConditionName, Image.Image]:
    """A sample's conditions as viewable images: segmentation with its palette, depth reduced to 8 bits."""
    return {
        name: _draw_condition(name, members[f"{member}.png"])
        for name, member in CONDITION_MEMBER.items()
        if f"{member}.png" in members
    }


def embed_records(records: Sequence[ChosenRecord], used: Iterable[ConditionName]) -> list[RecordPictures]:
    """Encode records as pictures to embed in a page.

    Args:
        records: Records to show.
        used: Conditions that controlled the pictures. Shards always hold a segmentation; it is left out if it was
            neither used nor known in the source.

    Returns:
        The pictures of each record, together of about ``PICTURE_BUDGET`` bytes or fewer.
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
        attributes=record.attributes,
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
        case "findings":
            lesion = np.asarray(image)
            return Image.fromarray(paint_lesions(np.full((*lesion.shape, 3), BACKGROUND_RGB, np.uint8), lesion))
        case "depth":
            return Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
        case _:
            return image


def _embed_condition(key: str, name: ConditionName, members: Members, limit: int) -> Picture:
    image, content = draw_conditions(members)[name], members[f"{CONDITION_MEMBER[name]}.png"]
    is_map = name == "segmentation"
    if is_map:
        uri = _palette_uri(image)
    elif name in ("depth", "findings"):  # browsers show neither 16-bit PNG nor label values reliably
        uri = _reduced_uri(image, limit)
    else:
        uri = _uri("image/png", content) if _fits(image, content, limit) else _reduced_uri(image, limit)
    return Picture(name, key, "", uri, is_map)


def _embed_sample(sample: ChosenSample, limit: int) -> Picture:
    return Picture(sample.name, sample.key, sample.prompt, sample_uri(sample.members, limit), is_map=False)


def sample_uri(members: Members, limit: int) -> str:
    """A sample's generated picture as a ``data:`` URI of about ``limit`` bytes or fewer."""
    media, content = picture_member(members)
    image = Image.open(io.BytesIO(content))
    return _uri(media, content) if _fits(image, content, limit) else _reduced_uri(image, limit)


def array_uri(picture: NDArray[np.uint8], limit: int) -> str:
    """A picture (H, W, 3) as a ``data:`` URI of about ``limit`` bytes or fewer."""
    return _reduced_uri(Image.fromarray(picture), limit)


def _fits(image: Image.Image, content: bytes, limit: int) -> bool:
    return max(image.size) <= _MAX_EDGE and len(content) <= limit


def _palette_uri(image: Image.Image) -> str:
    """A label map, resized by nearest neighbour and stored losslessly."""
    drawn = image.copy()
    drawn.thumbnail((_MAX_EDGE, _MAX_EDGE), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    drawn.save(buffer, format="PNG", optimize=True)
    return _uri("image/png", buffer.getvalue())


def _reduced_uri(image: Image.Image, limit: int) -> str:
    """WebP within the limit if possible; keeps the XMP that declares the digital source type."""
    content = b""
    for edge, quality in _REDUCTIONS:
        drawn, buffer = image.convert("RGB"), io.BytesIO()
        drawn.thumbnail((edge, edge), Image.Resampling.LANCZOS)
        drawn.save(buffer, format="WEBP", quality=quality, method=4, xmp=image.info.get("xmp", b""))
        content = buffer.getvalue()
        if len(content) <= limit:
            break
    return _uri("image/webp", content)


def _uri(media: str, content: bytes) -> str:
    return f"data:{media};base64,{base64.b64encode(content).decode()}"
