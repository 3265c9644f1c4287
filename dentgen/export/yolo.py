"""Layouts of Ultralytics YOLO with a line for every tooth: outlines or boxes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from dentgen import storage
from dentgen.conditions.labels import FDI_NUMBERS, IGNORE, RESTORATION, TOOTH
from dentgen.export.instances import tooth_instances
from dentgen.export.layout import USUAL_SPLITS, Entries, Entry, Loss, entry_of, flat_name, put_picture, splits_of
from dentgen.export.outlines import outline_of
from dentgen.export.source import ExportSample
from dentgen.export.yolo_semantic import put_yaml
from dentgen.records import ImageFormat

Task = Literal["segment", "detect"]
Teeth = Literal["numbers", "one"]
_NUMBERS: Final = sorted(FDI_NUMBERS)


@dataclass(frozen=True, slots=True)
class YoloFormat:
    """``images/SPLIT/KEY.EXT`` and ``labels/SPLIT/KEY.txt`` with a line for every tooth.

    Attributes:
        task: Outlines of teeth, or their boxes.
        teeth: A class for every FDI number, or one for all teeth.
    """

    task: Task
    teeth: Teeth = "numbers"
    splits: frozenset[str] | None = USUAL_SPLITS
    extension: ImageFormat | None = None

    def write(self, destination: str, unit: str, samples: Iterable[ExportSample]) -> list[Entry]:
        """Write pictures and their lines."""
        return [self._entry(destination, sample) for sample in samples]

    def finish(self, destination: str, entries: Entries) -> None:
        """Write ``data.yaml``."""
        names = ["tooth"] if self.teeth == "one" else [f"tooth {number}" for number in _NUMBERS]
        put_yaml(destination, splits_of(entries), {"names": dict(enumerate(names))})

    def _entry(self, destination: str, sample: ExportSample) -> Entry:
        split, loss, lines = sample.split, _lost(sample), []
        for tooth in tooth_instances(sample.fdi):
            number = 0 if self.teeth == "one" else _NUMBERS.index(tooth.category)
            values = _box(tooth.mask) if self.task == "detect" else _polygon(tooth.mask, loss)
            lines.append(" ".join([str(number), *(f"{value:.6f}" for value in values)]))
        place = storage.join(destination, "labels", split, f"{flat_name(sample.key)}.txt")
        storage.overwrite(place, "".join(f"{line}\n" for line in lines).encode())
        return entry_of(sample, put_picture(destination, f"images/{split}", sample), loss)


def _lost(sample: ExportSample) -> Loss:
    unnumbered = np.isin(sample.seg, (TOOTH, RESTORATION)) & (sample.fdi == 0)
    return Loss(ignored=int((sample.seg == IGNORE).sum()), unnumbered=int(unnumbered.sum()))


def _box(mask: NDArray[np.bool_]) -> list[float]:
    """Centre, width and height as shares of the picture's."""
    height, width = mask.shape
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    left, top, right, bottom = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return [(left + right) / 2 / width, (top + bottom) / 2 / height, (right - left) / width, (bottom - top) / height]


def _polygon(mask: NDArray[np.bool_], loss: Loss) -> list[float]:
    """Outline as shares of the picture's width and height."""
    outline = outline_of(mask)
    loss.holes += outline.holes > 0
    loss.split += outline.parts > 1
    loss.ious.append(outline.iou)
    height, width = mask.shape
    return [float(value) for value in (outline.polygon / [width, height]).ravel()]
