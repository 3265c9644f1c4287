"""Labelled photographs in any format that ``dentgen photos`` reads, as the networks of this study learn them.

Areas named "Tooth" are teeth, one each; all others are lesions within teeth.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from dentgen import storage
from dentgen.conditions.labels import IGNORE
from dentgen.errors import ConditionError
from dentgen.evaluation.photos.labelled_images import Labelled, LabelledImages, fitted, stacked
from dentgen.ingest.photos.annotations import AnnotatedPhoto, Refusal
from dentgen.ingest.photos.formats import read_annotations
from dentgen.ingest.photos.maps import area_masks
from dentgen.ingest.photos.picture import read_picture

_TOOTH: Final = "Tooth"
#: More instances than a mouth has teeth, fewer than a byte holds.
_MAX_TEETH: Final = 200


def read_photos(folder: str, size: int) -> LabelledImages:
    """Read all photographs of a set, padded to squares; padding is ``IGNORE``.

    Args:
        folder: Folder or URL.
        size: Edge of the images.

    Raises:
        ConditionError: If an annotation has no image, one of the two is damaged, or no area is a tooth.
    """
    found = stacked([_labelled(photo, size) for photo in read_annotations(folder)], folder)
    if not found.instances.any():
        raise ConditionError(folder, "no area named 'Tooth'", "teeth under that name; all other names are lesions")
    return found


def _labelled(photo: AnnotatedPhoto | Refusal, size: int) -> Labelled:
    if isinstance(photo, Refusal):
        raise photo.error
    place = storage.without_secrets(photo.image)
    if photo.skipped:
        raise ConditionError(place, f"annotations without an area: {photo.skipped}", "polygons or masks")
    teeth = sum(thing.label == _TOOTH for thing in photo.things)
    if teeth > _MAX_TEETH:
        raise ConditionError(place, f"{teeth} teeth", f"at most {_MAX_TEETH}")
    picture = read_picture(photo.image)
    shape = picture.pixels.shape[:2]
    instances, lesion = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    number = 0
    for thing, mask in area_masks(photo, picture):
        if thing.label == _TOOTH:
            number += 1
            instances[mask] = number
        else:
            lesion[mask] = 1
    tooth = ((instances > 0) | (lesion > 0)).astype(np.uint8)
    unknown = np.full(shape, IGNORE, np.uint8)
    return fitted((storage.name_of(photo.image), picture.pixels, tooth, instances, lesion, unknown), size)
