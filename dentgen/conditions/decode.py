"""Raw members to a checked condition record: decoded once, verified once, rejected with a reason.

Refuses to know files, sizes of models and colours.
"""

from __future__ import annotations

import io
import re
import struct
import warnings
import zlib
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from dentgen.conditions.labels import APPLIANCE, FDI_NUMBERS, IGNORE, RESTORATION, SEG_CLASSES, TOOTH
from dentgen.conditions.metadata import read_metadata
from dentgen.conditions.readers.raw import RawRecord, short
from dentgen.errors import ConditionError
from dentgen.records import (
    CONDITION_MEMBER,
    CONDITION_NAMES,
    FDI_MEMBER,
    PHOTO_MEMBER,
    ConditionName,
    ConditionRecord,
    MapArray,
)

#: Of the largest cameras; a record that is six maps and a photo of such a size still fits into a gigabyte.
MAX_PIXELS: Final = 48 * 2**20
MAX_KEY_BYTES: Final = 80
_MAP_FORMATS: Final = ("PNG",)
_PHOTO_FORMATS: Final = ("PNG", "JPEG", "WEBP")
_KEY: Final = re.compile(r"[^./\\][^.\\]*")
_PHOTO_EXTENSIONS: Final = ("png", "jpg", "jpeg", "webp")
#: Everything that a record may hold; a bare picture is what a generated sample has beside its maps.
KNOWN_MEMBERS: Final = frozenset(
    {
        *(f"{member}.png" for member in CONDITION_MEMBER.values()),
        f"{FDI_MEMBER}.png",
        *(f"{PHOTO_MEMBER}.{extension}" for extension in _PHOTO_EXTENSIONS),
        *_PHOTO_EXTENSIONS,
        "json",
    }
)
#: What Pillow raises on bytes that are no image; it promises none of it.
_NO_IMAGE: Final = (
    OSError, SyntaxError, ValueError, EOFError, IndexError, OverflowError, struct.error, zlib.error,
)  # fmt: skip
_DISAGREEMENT_WARNING: Final = 0.02


def decode_record(raw: RawRecord, wanted: Sequence[ConditionName], *, with_photo: bool = False) -> ConditionRecord:
    """Decode and check one record.

    Args:
        raw: Members of the record.
        wanted: Conditions that must be there; others are decoded if present.
        with_photo: Decode the real picture too.

    Raises:
        ConditionError: If a wanted member is missing, a member is unknown or not what its name says.
    """
    _check_key(raw)
    _check_members(raw)
    conditions: dict[ConditionName, MapArray] = {}
    for name in CONDITION_NAMES:
        member = f"{CONDITION_MEMBER[name]}.png"
        if member in raw.members:
            conditions[name] = _decode_condition(raw, name, member)
        elif name in wanted:
            raise ConditionError(raw.place, f"members {sorted(map(short, raw.members))[:20]}", f"a member {member!r}")
    fdi = _decode_fdi(raw) if f"{FDI_MEMBER}.png" in raw.members else None
    _check_sizes(raw, conditions, fdi)
    photo = _decode_photo(raw, next(iter(conditions.values()), None)) if with_photo else None
    metadata = read_metadata(raw.place, raw.members.get("json"))
    return ConditionRecord(
        key=raw.key,
        group=metadata.group or raw.key,
        split=metadata.split,
        prompt=metadata.prompt,
        conditions=conditions,
        fdi=fdi,
        photo=photo,
        license=metadata.license,
        attributes=metadata.attributes,
        warnings=_disagreement(conditions.get("segmentation"), fdi),
    )


def valid_key(key: str) -> bool:
    """Whether a key can be a member name.

    WebDataset ends keys at the first dot, tar limits their length, and no name may lead out of a folder.
    """
    return key.isprintable() and _KEY.fullmatch(key) is not None and len(key.encode()) <= MAX_KEY_BYTES


def _check_key(raw: RawRecord) -> None:
    if not valid_key(raw.key):
        expected = f"at most {MAX_KEY_BYTES} bytes of printable text, no dot, no backslash, no leading /"
        raise ConditionError(raw.place, f"the key '{short(raw.key)}'", expected)


def _check_members(raw: RawRecord) -> None:
    """A member that is not known may be a map under a wrong name: say so rather than pass it over."""
    if raw.problem is not None:
        raise raw.problem
    unknown = sorted(short(name)[:80] for name in raw.members.keys() - KNOWN_MEMBERS)
    if unknown:
        raise ConditionError(raw.place, f"unknown members {unknown[:5]}", f"only {sorted(KNOWN_MEMBERS)}")


def _open_image(raw: RawRecord, member: str, formats: tuple[str, ...]) -> Image.Image:
    """A whole, upright image of one of the formats; a label map must never have been a JPEG.

    Pillow decodes a PNG without asking its checksums: a bit that flipped on a disk would be another class, in silence.
    """
    place, content = f"{raw.place}.{member}", raw.members[member]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # MAX_PIXELS below is stricter
            image = Image.open(io.BytesIO(content), formats=formats)
            if image.width * image.height > MAX_PIXELS:
                raise ConditionError(place, f"{image.width} x {image.height} pixels", f"at most {MAX_PIXELS} in all")
            Image.open(io.BytesIO(content), formats=formats).verify()
            image.load()
            orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Image.DecompressionBombError as error:
        raise ConditionError(place, str(error), f"at most {MAX_PIXELS} pixels in all") from error
    except UnidentifiedImageError as error:  # its text names an address in memory
        raise ConditionError(place, "bytes that are no image", f"a whole image, {' or '.join(formats)}") from error
    except _NO_IMAGE as error:
        expected = f"a whole image, {' or '.join(formats)}"
        raise ConditionError(place, f"bytes that are no image ({error})", expected) from error
    if orientation != 1:
        raise ConditionError(place, f"EXIF orientation {orientation}", "pixels that stand upright without EXIF")
    return image


def _decode_condition(raw: RawRecord, name: ConditionName, member: str) -> MapArray:
    image = _open_image(raw, member, _MAP_FORMATS)
    match name:
        case "segmentation":
            seg = _one_channel(raw, member, image)
            unknown = sorted(set(np.unique(seg).tolist()) - SEG_CLASSES.keys())
            if unknown:
                raise ConditionError(f"{raw.place}.{member}", f"class values {unknown}", f"only {sorted(SEG_CLASSES)}")
            return seg
        case "normal":
            if image.mode != "RGB":
                raise ConditionError(f"{raw.place}.{member}", f"mode {image.mode}", "8-bit RGB")
            return np.asarray(image)
        case "depth":
            if image.mode not in {"I;16", "I", "L"}:
                raise ConditionError(f"{raw.place}.{member}", f"mode {image.mode}", "16-bit grey")
            return np.asarray(image).astype(np.uint16) * (257 if image.mode == "L" else 1)
        case _:
            return _one_channel(raw, member, image)


def _one_channel(raw: RawRecord, member: str, image: Image.Image) -> NDArray[np.uint8]:
    """8-bit grey; an RGB image is accepted where its channels are equal, because exporters write such files."""
    if image.mode == "L":
        return np.asarray(image)
    if image.mode == "RGB":
        rgb = np.asarray(image)
        if (rgb[..., 0] == rgb[..., 1]).all() and (rgb[..., 1] == rgb[..., 2]).all():
            return rgb[..., 0].copy()
    raise ConditionError(f"{raw.place}.{member}", f"mode {image.mode}", "8-bit grey (mode L)")


def _decode_fdi(raw: RawRecord) -> NDArray[np.uint8]:
    member = f"{FDI_MEMBER}.png"
    fdi = _one_channel(raw, member, _open_image(raw, member, _MAP_FORMATS))
    unknown = sorted(set(np.unique(fdi).tolist()) - FDI_NUMBERS - {0})
    if unknown:
        raise ConditionError(f"{raw.place}.{member}", f"values {unknown}", "FDI tooth numbers or 0")
    return fdi


def _check_sizes(raw: RawRecord, conditions: dict[ConditionName, MapArray], fdi: NDArray[np.uint8] | None) -> None:
    sizes = {CONDITION_MEMBER[name]: array.shape[:2] for name, array in conditions.items()}
    if fdi is not None:
        sizes[FDI_MEMBER] = fdi.shape[:2]
    if len(set(sizes.values())) > 1:
        raise ConditionError(raw.place, f"sizes (height, width) {sizes}", "the same size for every map")


def _decode_photo(raw: RawRecord, beside: MapArray | None) -> NDArray[np.uint8] | None:
    for extension in _PHOTO_EXTENSIONS:
        member = f"{PHOTO_MEMBER}.{extension}"
        if member in raw.members:
            image = _open_image(raw, member, _PHOTO_FORMATS)
            photo = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
            _check_aspect(raw, member, photo, beside)
            return photo
    return None


def _check_aspect(raw: RawRecord, member: str, photo: NDArray[np.uint8], beside: MapArray | None) -> None:
    """A photo may have more pixels than the maps, but fitted to one size both must show the same."""
    height, width = photo.shape[:2]
    map_height, map_width = photo.shape[:2] if beside is None else beside.shape[:2]
    if abs(height * map_width - width * map_height) > max(map_height, map_width):
        raise ConditionError(
            f"{raw.place}.{member}", f"{width} x {height} pixels", f"the shape of the maps, {map_width} x {map_height}"
        )


def _disagreement(seg: MapArray | None, fdi: NDArray[np.uint8] | None) -> tuple[str, ...]:
    """Real label maps come from different hands: say by how much they differ, and keep both."""
    if seg is None or fdi is None:
        return ()
    told = ~np.isin(seg, [APPLIANCE, IGNORE])  # what hides a tooth may carry its number or none
    share = float(((np.isin(seg, [TOOTH, RESTORATION]) != (fdi > 0)) & told).mean())
    return (f"seg and fdi disagree on {share:.1%} of the pixels",) if share > _DISAGREEMENT_WARNING else ()
