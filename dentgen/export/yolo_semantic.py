"""Layout of Ultralytics' semantic segmentation: class maps as they are, and ``data.yaml`` for all YOLO layouts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import yaml

from dentgen import storage
from dentgen.conditions.labels import IGNORE, SEG_CLASSES
from dentgen.export.layout import USUAL_SPLITS, Entries, Entry, entry_of, flat_name, put_picture, splits_of
from dentgen.export.source import ExportSample
from dentgen.records import ImageFormat
from dentgen.shards.tar import png_bytes

#: Splits by the names that the loader has for them.
_KEYS: Final = {"train": "train", "val": "validation", "test": "test"}


@dataclass(frozen=True, slots=True)
class YoloSemanticFormat:
    """``images/SPLIT/KEY.EXT`` and ``masks/SPLIT/KEY.png`` with the classes as they are, 255 to ignore."""

    splits: frozenset[str] | None = USUAL_SPLITS
    extension: ImageFormat | None = None

    def write(self, destination: str, unit: str, samples: Iterable[ExportSample]) -> list[Entry]:
        """Write pictures and class maps."""
        return [self._entry(destination, sample) for sample in samples]

    def finish(self, destination: str, entries: Entries) -> None:
        """Write ``data.yaml``."""
        names = {value: name for value, name in SEG_CLASSES.items() if value != IGNORE}
        put_yaml(destination, splits_of(entries), {"masks_dir": "masks", "names": names})

    def _entry(self, destination: str, sample: ExportSample) -> Entry:
        split = sample.split
        place = storage.join(destination, "masks", split, f"{flat_name(sample.key)}.png")
        storage.overwrite(place, png_bytes(sample.seg))
        return entry_of(sample, put_picture(destination, f"images/{split}", sample))


def put_yaml(destination: str, splits: list[str], values: dict[str, Any]) -> None:
    """Write ``data.yaml``; without a validation set, the loader needs the training set's place there."""
    folders = {key: f"images/{name}" for key, name in _KEYS.items() if name in splits}
    if "val" not in folders and "train" in folders:
        folders["val"] = folders["train"]
    content = yaml.safe_dump({**folders, **values}, sort_keys=False, allow_unicode=True)
    storage.overwrite(storage.join(destination, "data.yaml"), content.encode())
