"""Which annotation format a set has, and its reader."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Final, Literal, get_args

from dentgen import storage
from dentgen.errors import ConditionError
from dentgen.ingest.photos.annotations import AnnotatedPhoto, Files, Reader, Refusal
from dentgen.ingest.photos.readers.coco import read_coco
from dentgen.ingest.photos.readers.cvat import read_cvat
from dentgen.ingest.photos.readers.label_studio import read_label_studio
from dentgen.ingest.photos.readers.labelme import read_labelme
from dentgen.ingest.photos.readers.masks import read_masks
from dentgen.ingest.photos.readers.supervisely import read_supervisely
from dentgen.ingest.photos.readers.yolo import read_yolo

PhotoFormat = Literal["supervisely", "coco", "yolo", "labelme", "cvat", "label-studio", "masks"]
PHOTO_FORMATS: Final[tuple[PhotoFormat, ...]] = get_args(PhotoFormat)
_READERS: Final[dict[PhotoFormat, Reader]] = {
    "supervisely": read_supervisely,
    "coco": read_coco,
    "yolo": read_yolo,
    "labelme": read_labelme,
    "cvat": read_cvat,
    "label-studio": read_label_studio,
    "masks": read_masks,
}
#: Beginning of a JSON file that tells its format.
_HEAD_BYTES: Final = 2**20


def read_annotations(place: str, chosen: PhotoFormat | None = None) -> Iterator[AnnotatedPhoto | Refusal]:
    """Read a set of annotated photographs.

    Args:
        place: Folder or URL.
        chosen: Its format; None tells it by its files.

    Raises:
        ConditionError: If no format, or more than one, fits its files.
        StorageError: If it cannot be listed.
    """
    files = Files.under(place)
    return _READERS[chosen or told_format(place, files)](place, files)


def told_format(place: str, files: Files) -> PhotoFormat:
    """The one format that fits a set's files.

    Raises:
        ConditionError: If there is none, or more than one.
    """
    fitting = [name for name, fits in _SIGNS.items() if fits(files)]
    if len(fitting) != 1:
        found = f"files of {' and '.join(fitting)}" if fitting else "no annotation of a known format"
        raise ConditionError(storage.without_secrets(place), found, f"one of {', '.join(PHOTO_FORMATS)} (--format)")
    return fitting[0]


def _has_folder(files: Files, ending: str, *folders: str) -> bool:
    return any({part.lower() for part in name.split("/")[:-1]} & set(folders) for name in files.ending(ending))


def _json_with(files: Files, *keys: str) -> bool:
    """Whether the first JSON file outside Supervisely's folders has all keys near its beginning."""
    for name in files.ending(".json"):
        if "ann" not in name.split("/")[:-1]:
            head = storage.read_range(files.urls[name], 0, _HEAD_BYTES).decode(errors="replace")
            if all(re.search(rf"{json.dumps(key)}\s*:", head) for key in keys):
                return True
    return False


def _is_supervisely(files: Files) -> bool:
    return _has_folder(files, ".json", "ann")


_SIGNS: Final[dict[PhotoFormat, Callable[[Files], bool]]] = {
    "supervisely": _is_supervisely,
    "coco": lambda files: not _is_supervisely(files) and _json_with(files, "images"),
    "yolo": lambda files: _has_folder(files, ".txt", "labels"),
    "labelme": lambda files: _json_with(files, "shapes"),
    "cvat": lambda files: bool(files.ending(".xml")) and not _has_folder(files, ".png", "segmentationclass"),
    "label-studio": lambda files: _json_with(files, "annotations", "data") and not _json_with(files, "images"),
    "masks": lambda files: _has_folder(files, ".png", "segmentationclass", "masks", "mask"),
}
