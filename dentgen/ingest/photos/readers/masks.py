"""Mask images beside photographs: palette indices or grey values, as Pascal VOC has them, or plain colours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import numpy as np

from dentgen.conditions.images import StoredImage, read_image
from dentgen.errors import ConditionError, DentgenError
from dentgen.ingest.photos.annotations import (
    IMAGE_ENDINGS,
    MAX_EDGE,
    AnnotatedPhoto,
    Files,
    Refusal,
    Thing,
    content_of,
    split_named_by,
    stem_of,
)

#: Folders of masks, and those of the photographs that belong to them.
_FOLDERS: Final = {"segmentationclass": "jpegimages", "masks": "images", "labels": "images", "mask": "image"}
#: More colours are no labels but a photograph, or what JPEG and smoothing made of labels.
_MAX_VALUES: Final = 256
_COLOUR: Final = re.compile(r"#[0-9a-f]{6}")


def read_masks(place: str, files: Files) -> Iterator[AnnotatedPhoto | Refusal]:
    """Read every mask with its photograph; labels are values, "12", or colours, "#ff8000"."""
    for name in files.ending(".png"):
        parts = name.split("/")
        places = [place for place, part in enumerate(parts[:-1]) if part.lower() in _FOLDERS]
        if places:
            try:
                yield _photo(name, parts, places[-1], files)
            except DentgenError as error:
                yield Refusal(name, error)


def is_colour(label: str) -> bool:
    """Whether a label is a colour."""
    return _COLOUR.fullmatch(label) is not None


def _photo(name: str, parts: list[str], place: int, files: Files) -> AnnotatedPhoto:
    wanted = [part.lower() for part in parts]
    wanted[place] = _FOLDERS[wanted[place]]
    stem = stem_of("/".join(wanted))
    named = (other for other in files.ending(*IMAGE_ENDINGS) if stem_of(other).lower() == stem)
    found = next((files.urls[other] for other in named), None)
    if found is None:
        raise ConditionError(name, "no photograph of that name", f"{stem}.jpg or another image")
    mask = read_image(name, content_of(files.urls[name]), ("PNG",), MAX_EDGE**2)
    height, width = mask.values.shape[:2]
    folders = "/".join(parts[:place] + parts[place + 1 :])
    return AnnotatedPhoto(stem_of(folders), found, (width, height), tuple(_things(mask)), split=split_named_by(name))


def _things(mask: StoredImage) -> Iterator[Thing]:
    """An area for every value or colour."""
    if mask.low is not None or mask.bits > 8:
        raise mask.refused("8 bits or fewer")
    values = mask.values
    if values.ndim == 3 and values.shape[-1] < 3:
        raise mask.refused("grey, a palette or RGB")
    if values.ndim == 3:
        packed = (values[..., :3].astype(np.int64) * [65536, 256, 1]).sum(-1)
        names = {int(code): f"#{int(code):06x}" for code in np.unique(packed)[: _MAX_VALUES + 1]}
    else:
        packed = values.astype(np.int64)
        names = {int(code): str(int(code)) for code in np.unique(packed)}
    if len(names) > _MAX_VALUES:
        raise ConditionError(mask.place, f"over {_MAX_VALUES} colours", "a colour for every label, without smoothing")
    for code, label in names.items():
        yield Thing(label, mask=packed == code)
