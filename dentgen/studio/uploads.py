"""Uploaded maps and photographs as condition records: decoded by the readers' own rules, pixels alone are kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dentgen.conditions.decode import MAX_PIXELS
from dentgen.conditions.images import colours, label_values, opaque_colours, read_image
from dentgen.conditions.labels import SEG_CLASSES, labels_from_palette
from dentgen.conditions.prepare import fit_map
from dentgen.conditions.readers.raw import RawRecord
from dentgen.errors import ConditionError
from dentgen.ingest.photos.maps import estimated_lighting
from dentgen.records import CONDITION_MEMBER, FDI_MEMBER, ConditionRecord
from dentgen.shards.tar import json_bytes, png_bytes
from dentgen.spec.build import BuildSpec
from dentgen.studio.openers import opened

#: Names of the parts of an upload.
MAPS: Final = tuple(name for name in CONDITION_MEMBER if name != "segmentation")
SEGMENTATION, PHOTO = "segmentation", "photo"
PARTS: Final = (SEGMENTATION, PHOTO, FDI_MEMBER, *MAPS)
_PHOTO_FORMATS: Final = ("PNG", "JPEG", "WEBP")


def uploaded(files: Mapping[str, bytes], spec: BuildSpec) -> ConditionRecord:
    """A record of uploaded files.

    The lighting map is estimated from the photograph if there is none.

    Args:
        files: Content by part: ``segmentation``, a PNG of class values or palette colours; other maps as condition
            records have them; ``photo``, a PNG, JPEG or WebP.
        spec: The studio's spec.

    Raises:
        ConditionError: If a part is unknown, missing, damaged or no map of its kind.
    """
    unknown = sorted(set(files) - set(PARTS))
    if unknown or SEGMENTATION not in files:
        raise ConditionError("upload", f"the parts {sorted(files)}", f"{SEGMENTATION}, and some of {list(PARTS[1:])}")
    seg = _classes(files[SEGMENTATION])
    members = {f"{CONDITION_MEMBER['segmentation']}.png": png_bytes(seg)}
    members |= {f"{CONDITION_MEMBER[name]}.png": files[name] for name in MAPS if name in files}
    if FDI_MEMBER in files:
        members[f"{FDI_MEMBER}.png"] = files[FDI_MEMBER]
    if PHOTO in files:
        photo = opaque_colours(read_image("upload: photo", files[PHOTO], _PHOTO_FORMATS, MAX_PIXELS))
        members["photo.png"] = png_bytes(photo)
        if "lighting" not in files:
            small = fit_map(photo, (seg.shape[0], seg.shape[1]), "stretch", nearest=False, empty=0)
            members[f"{CONDITION_MEMBER['lighting']}.png"] = png_bytes(estimated_lighting(small, seg))
    members["json"] = json_bytes({"prompt": "intraoral dental photography"})
    return opened(RawRecord("upload", "upload", members), spec)


def _classes(content: bytes) -> NDArray[np.uint8]:
    """Class values (H, W), of a picture in palette colours too."""
    image = read_image("upload: segmentation", content, ("PNG",), MAX_PIXELS)
    if image.mode in {"RGB", "RGBA"}:
        return labels_from_palette(colours(image))
    seg, unknown = label_values(image, SEG_CLASSES)
    if unknown:
        raise ConditionError(image.place, f"class values {unknown[:20]}", f"only {sorted(SEG_CLASSES)}")
    return seg
