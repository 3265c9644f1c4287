"""Decoding and validation of a condition record's raw members."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dentgen.conditions.images import (
    StoredImage,
    colours,
    depth_levels,
    grey_levels,
    label_values,
    opaque_colours,
    read_image,
)
from dentgen.conditions.labels import APPLIANCE, FDI_NUMBERS, IGNORE, RESTORATION, SEG_CLASSES, TOOTH
from dentgen.conditions.lesion_map import LESIONS
from dentgen.conditions.metadata import frame_of, read_metadata
from dentgen.conditions.motion import read_motion
from dentgen.conditions.painted import read_painted
from dentgen.conditions.readers.raw import RawRecord, short
from dentgen.conditions.source_sample import source_sample
from dentgen.documents.conditions import ConditionMetadata
from dentgen.errors import ConditionError
from dentgen.records import (
    CONDITION_MEMBER,
    CONDITION_NAMES,
    FDI_MEMBER,
    FINDING_MEMBER,
    IMAGE_FORMATS,
    MOTION_MEMBERS,
    PAINTED_MEMBER,
    PHOTO_MEMBER,
    ConditionName,
    ConditionRecord,
    MapArray,
    PaintedRegion,
)

#: More than most cameras have; a record of six maps and a photo this large decodes to less than 1 GiB.
MAX_PIXELS: Final = 48 * 2**20
MAX_KEY_BYTES: Final = 80
_MAP_FORMATS: Final = ("PNG",)
_PHOTO_FORMATS: Final = ("PNG", "JPEG", "WEBP")
#: webdataset skips what begins with two underscores.
_KEY: Final = re.compile(r"(?!__)[^./\\](?:(?!/__)[^.\\])*")
_PHOTO_EXTENSIONS: Final = (*IMAGE_FORMATS, "jpeg")
#: All members that a record may have; generated samples, read back as records, also have a bare image ("png").
KNOWN_MEMBERS: Final = frozenset(
    {
        *(f"{member}.png" for member in CONDITION_MEMBER.values()),
        f"{FDI_MEMBER}.png",
        f"{PAINTED_MEMBER}.png",
        *(f"{member}.png" for member in MOTION_MEMBERS),
        *(f"{PHOTO_MEMBER}.{extension}" for extension in _PHOTO_EXTENSIONS),
        *_PHOTO_EXTENSIONS,
        "json",
    }
)
_FINDING_LABELS: Final = f"{FINDING_MEMBER}.png"
_PAINTED: Final = f"{PAINTED_MEMBER}.png"
_DISAGREEMENT_WARNING: Final = 0.02


def decode_record(
    raw: RawRecord,
    wanted: Sequence[ConditionName],
    *,
    with_photo: bool = False,
    with_painted: bool = False,
    with_motion: bool = False,
    with_frame: bool = False,
    metadata: ConditionMetadata | None = None,
) -> ConditionRecord:
    """Decode and validate one record.

    Args:
        raw: Members of the record.
        wanted: Conditions that must be present; others are decoded where present.
        with_photo: Also decode the photo.
        with_painted: Also decode painted regions; otherwise they are not even checked.
        with_motion: Also decode the motion of a frame; otherwise it is not even checked.
        with_frame: Also read its place in a series; otherwise it is not even checked.
        metadata: The record's metadata if it has been parsed already; None to parse the ``json`` member.

    Returns:
        The record with maps of one size: (H, W) uint8, normals (H, W, 3) uint8, depth (H, W) uint16.

    Raises:
        ConditionError: If the key is invalid, a wanted member is missing, or a member is unknown, damaged or not of the
            encoding that its name implies.
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
    sample, told = source_sample(raw, _open_labels(raw)) if raw.is_sample else (None, ())
    if metadata is None:
        metadata = read_metadata(raw.place, raw.members.get("json"))
    painted = _decode_painted(raw, metadata) if with_painted else ()
    motion = _decode_motion(raw) if with_motion else None
    _check_sizes(raw, conditions, fdi, None if sample is None else sample.finding_labels, painted, motion)
    photo = _decode_photo(raw, next(iter(conditions.values()), None)) if with_photo else None
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
        warnings=tuple(dict.fromkeys((*told, *_disagreement(conditions.get("segmentation"), fdi)))),
        sample=sample,
        painted=painted,
        frame=frame_of(raw.place, metadata) if with_frame else None,
        motion=motion,
    )


def decode_photo(raw: RawRecord) -> NDArray[np.uint8] | None:
    """Decode the photo alone.

    Returns:
        (H, W, 3) uint8; None if the record has no photo.

    Raises:
        ConditionError: If the record could not be read, or the photo is damaged.
    """
    if raw.problem is not None:
        raise raw.problem
    return _decode_photo(raw, None)


def valid_key(key: str) -> bool:
    """Whether a key can be used in member names.

    WebDataset ends keys at the first dot and keeps names with two leading underscores for itself, tar limits the length
    of names, and a key must not escape its folder.
    """
    return key.isprintable() and _KEY.fullmatch(key) is not None and len(key.encode()) <= MAX_KEY_BYTES


def _check_key(raw: RawRecord) -> None:
    if not valid_key(raw.key):
        expected = f"at most {MAX_KEY_BYTES} bytes of printable text, no dot, no backslash, no leading / or __"
        raise ConditionError(raw.place, f"the key '{short(raw.key)}'", expected)


def _check_members(raw: RawRecord) -> None:
    """Reject unknown members: one may be a misnamed map."""
    if raw.problem is not None:
        raise raw.problem
    known = KNOWN_MEMBERS | {_FINDING_LABELS} if raw.is_sample else KNOWN_MEMBERS
    unknown = sorted(short(name)[:80] for name in raw.members.keys() - known)
    if unknown:
        raise ConditionError(raw.place, f"unknown members {unknown[:5]}", f"only {sorted(KNOWN_MEMBERS)}")


def _open_image(raw: RawRecord, member: str, formats: tuple[str, ...]) -> StoredImage:
    return read_image(f"{raw.place}.{member}", raw.members[member], formats, MAX_PIXELS)


def _decode_condition(raw: RawRecord, name: ConditionName, member: str) -> MapArray:
    image = _open_image(raw, member, _MAP_FORMATS)
    match name:
        case "segmentation":
            seg, unknown = label_values(image, SEG_CLASSES)
            if unknown:
                raise ConditionError(image.place, f"class values {unknown[:20]}", f"only {sorted(SEG_CLASSES)}")
            return seg
        case "findings":
            lesion, unknown = label_values(image, LESIONS)
            if unknown:
                raise ConditionError(image.place, f"values {unknown[:20]}", f"only {sorted(LESIONS)}")
            return lesion
        case "normal":
            return colours(image)
        case "depth":
            return depth_levels(image)
        case _:
            return grey_levels(image)


def _decode_fdi(raw: RawRecord) -> NDArray[np.uint8]:
    image = _open_image(raw, f"{FDI_MEMBER}.png", _MAP_FORMATS)
    fdi, unknown = label_values(image, FDI_NUMBERS | {0})
    if unknown:
        raise ConditionError(image.place, f"values {unknown[:20]}", "FDI tooth numbers or 0")
    return fdi


def _decode_painted(raw: RawRecord, metadata: ConditionMetadata) -> tuple[PaintedRegion, ...]:
    image = _open_image(raw, _PAINTED, _MAP_FORMATS) if _PAINTED in raw.members else None
    return read_painted(raw.place, metadata.painted, image)


def _decode_motion(raw: RawRecord) -> NDArray[np.float32] | None:
    """The motion of a frame, None if the record has none."""
    names = [f"{member}.png" for member in MOTION_MEMBERS]
    present = [name for name in names if name in raw.members]
    if present and present != names:
        raise ConditionError(raw.place, f"the member {present[0]!r} alone", f"both of {names}")
    return read_motion(*(_open_image(raw, name, _MAP_FORMATS) for name in names)) if present else None


def _open_labels(raw: RawRecord) -> StoredImage | None:
    """The map of findings that a sample was asked for, if its build asked for any."""
    return _open_image(raw, _FINDING_LABELS, _MAP_FORMATS) if _FINDING_LABELS in raw.members else None


def _check_sizes(
    raw: RawRecord,
    conditions: dict[ConditionName, MapArray],
    fdi: NDArray[np.uint8] | None,
    findings: NDArray[np.uint8] | None,
    painted: tuple[PaintedRegion, ...],
    motion: NDArray[np.float32] | None,
) -> None:
    sizes = {CONDITION_MEMBER[name]: array.shape[:2] for name, array in conditions.items()}
    if fdi is not None:
        sizes[FDI_MEMBER] = fdi.shape[:2]
    if findings is not None:
        sizes[FINDING_MEMBER] = findings.shape[:2]
    if painted:
        sizes[PAINTED_MEMBER] = painted[0].mask.shape[:2]
    if motion is not None:
        sizes["motion"] = motion.shape[:2]
    if len(set(sizes.values())) > 1:
        raise ConditionError(raw.place, f"sizes (height, width) {sizes}", "the same size for every map")


def _decode_photo(raw: RawRecord, first_map: MapArray | None) -> NDArray[np.uint8] | None:
    for extension in _PHOTO_EXTENSIONS:
        member = f"{PHOTO_MEMBER}.{extension}"
        if member in raw.members:
            photo = opaque_colours(_open_image(raw, member, _PHOTO_FORMATS))
            _check_aspect(raw, member, photo, first_map)
            return photo
    return None


def _check_aspect(raw: RawRecord, member: str, photo: NDArray[np.uint8], first_map: MapArray | None) -> None:
    """Require the maps' aspect ratio, within a pixel; a photo may have a higher resolution than the maps."""
    height, width = photo.shape[:2]
    map_height, map_width = photo.shape[:2] if first_map is None else first_map.shape[:2]
    if abs(height * map_width - width * map_height) > max(map_height, map_width):
        expected = f"the aspect ratio of the maps, {map_width} x {map_height}"
        raise ConditionError(f"{raw.place}.{member}", f"{width} x {height} pixels", expected)


def _disagreement(seg: MapArray | None, fdi: NDArray[np.uint8] | None) -> tuple[str, ...]:
    """Warn where class and tooth maps disagree; in real data they often come from different annotators."""
    if seg is None or fdi is None:
        return ()
    comparable = ~np.isin(seg, [APPLIANCE, IGNORE])  # an appliance may carry the number of the tooth that it hides
    share = float(((np.isin(seg, [TOOTH, RESTORATION]) != (fdi > 0)) & comparable).mean())
    return (f"seg and fdi disagree on {share:.1%} of the pixels",) if share > _DISAGREEMENT_WARNING else ()
