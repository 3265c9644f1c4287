"""What all formats share: names of files and splits, what a format lost, and entries that survive an interruption."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

import numpy as np
from PIL import Image

from dentgen import storage
from dentgen.export.source import NO_SPLIT, ExportSample
from dentgen.records import PILLOW_FORMAT, ImageFormat
from dentgen.shards.tar import png_bytes

#: One sample's part of the files that describe a whole set; JSON.
Entry = dict[str, Any]
#: Splits of layouts that have no place for others.
USUAL_SPLITS: Final = frozenset({"train", "validation", "test"})
Entries = Callable[[], Iterator[Entry]]


class ExportFormat(Protocol):
    """Layout of one family of trainers."""

    @property
    def splits(self) -> frozenset[str] | None:
        """Splits that it has a place for; None for any."""
        ...

    @property
    def extension(self) -> ImageFormat | None:
        """File extension that its pictures must have; None for any. The samples that it gets have it already."""
        ...

    def write(self, destination: str, unit: str, samples: Iterable[ExportSample]) -> list[Entry]:
        """Write the files of one shard's samples; returns an entry each, which ``finish`` gets."""
        ...

    def finish(self, destination: str, entries: Entries) -> None:
        """Write the files that describe the whole set; ``entries`` can be read again and again."""
        ...


@dataclass(slots=True)
class Loss:
    """What a format cannot hold of one sample.

    Attributes:
        holes, split: Instances with holes that are filled, and in several parts that are joined or dropped.
        ignored: Pixels that are not annotated and count as background here.
        unnumbered: Pixels of teeth without a number, which have no instance.
        ious: Intersection over union of every mask with what comes back.
    """

    holes: int = 0
    split: int = 0
    ignored: int = 0
    unnumbered: int = 0
    ious: list[float] = field(default_factory=list)

    @property
    def values(self) -> dict[str, Any]:
        """As an entry keeps it."""
        ious = [round(iou, 4) for iou in self.ious]
        counts = {"holes": self.holes, "split": self.split, "ignored": self.ignored, "unnumbered": self.unnumbered}
        return {**counts, "ious": ious}


def flat_name(key: str) -> str:
    """Name of a key's files, without an extension: a key may contain slashes, which would be folders."""
    return key.replace("/", "__")


def with_extension(sample: ExportSample, extension: ImageFormat | None) -> ExportSample:
    """The sample with its picture encoded anew, unless it has that extension already; JPEG of quality 95."""
    if extension is None or sample.extension == extension:
        return sample
    picture, buffer = Image.open(io.BytesIO(sample.picture)).convert("RGB"), io.BytesIO()
    if extension == "png":
        buffer.write(png_bytes(np.asarray(picture)))
    else:
        picture.save(buffer, PILLOW_FORMAT[extension], quality=95, subsampling=0)
    return replace(sample, picture=buffer.getvalue(), extension=extension)


def put_picture(destination: str, folder: str, sample: ExportSample) -> str:
    """Write a sample's picture into a folder of the destination; returns its name there."""
    name = f"{flat_name(sample.key)}.{sample.extension}"
    storage.overwrite(storage.join(destination, *folder.split("/"), name), sample.picture)
    return name


def entry_of(sample: ExportSample, file: str, loss: Loss | None = None, **values: Any) -> Entry:
    """What every format keeps of a sample."""
    height, width = sample.size
    return {
        "key": sample.key, "split": sample.split, "group": sample.group, "file": file, "height": height,
        "width": width, "loss": (loss or Loss()).values, **values,
    }  # fmt: skip


def splits_of(entries: Entries) -> list[str]:
    """All splits, train first."""
    return sorted({entry["split"] for entry in entries()}, key=lambda name: (name != NO_SPLIT, name))
