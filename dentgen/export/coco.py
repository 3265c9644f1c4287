"""COCO instances: one annotation for every tooth, with its FDI number as category, and for everything else labelled."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from dentgen import storage
from dentgen.conditions.lesion_map import LESIONS
from dentgen.export.instances import Instance, categories, instances_of, lesion_category
from dentgen.export.layout import Entries, Entry, Loss, entry_of, put_picture, splits_of
from dentgen.export.outlines import edge_polygons, iou
from dentgen.export.source import ExportSample
from dentgen.records import ImageFormat

Masks = Literal["rle", "polygon"]


@dataclass(frozen=True, slots=True)
class CocoFormat:
    """``images/SPLIT/KEY.EXT`` and ``annotations/instances_SPLIT.json``.

    Attributes:
        masks: Run lengths, which are exact, or polygons, which some loaders ask for.
    """

    masks: Masks = "rle"
    splits: frozenset[str] | None = None
    extension: ImageFormat | None = None

    def write(self, destination: str, unit: str, samples: Iterable[ExportSample]) -> list[Entry]:
        """Write pictures and collect their annotations."""
        return [self._entry(destination, sample) for sample in samples]

    def finish(self, destination: str, entries: Entries) -> None:
        """Write the annotations of every split; identifiers count through the split."""
        for split in splits_of(entries):
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "annotations.json"
                with file.open("w") as stream:
                    _write_split(stream, split, entries)
                place = storage.join(destination, "annotations", f"instances_{split}.json")
                storage.overwrite_from(place, file)

    def _entry(self, destination: str, sample: ExportSample) -> Entry:
        file = put_picture(destination, f"images/{sample.split}", sample)
        loss = Loss()
        instances = instances_of(sample.seg, sample.fdi, sample.lesion)
        found = [_annotation(one, "rle" if one.is_crowd else self.masks, sample, loss) for one in instances]
        return entry_of(
            sample, file, loss, annotations=found, prompt=sample.prompt, attributes=sample.attributes,
            license=sample.license, synthetic=sample.synthetic,
        )  # fmt: skip


def _annotation(one: Instance, masks: Masks, sample: ExportSample, loss: Loss) -> dict[str, Any]:
    runs = coco_mask.encode(np.asfortranarray(one.mask.astype(np.uint8)))
    segmentation: Any = {"size": list(sample.size), "counts": runs["counts"].decode()}
    if masks == "polygon":
        segmentation = _polygons(one.mask, loss)
    return {
        "category_id": one.category,
        "segmentation": segmentation,
        "bbox": [float(value) for value in coco_mask.toBbox(runs)],
        "area": int(one.mask.sum()),
        "iscrowd": int(one.is_crowd),
        "attributes": {"tooth": one.tooth, **_findings(one, sample), **_asked(one, sample)},
    }


def _polygons(mask: NDArray[np.bool_], loss: Loss) -> list[list[float]]:
    polygons, holes = edge_polygons(mask)
    loss.holes += holes > 0
    height, width = mask.shape
    back = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(polygons, height, width)))
    loss.ious.append(iou(mask, back.astype(bool)))
    return polygons


def _findings(one: Instance, sample: ExportSample) -> dict[str, list[str]]:
    """Names of the lesions and restorations on a tooth."""
    if sample.lesion is None or one.category != one.tooth:
        return {}
    values = np.unique(sample.lesion[one.mask]).tolist()
    return {"findings": [LESIONS[value] for value in values if value and lesion_category(value) < lesion_category(255)]}


def _asked(one: Instance, sample: ExportSample) -> dict[str, list[str]]:
    """Kinds of the findings that the build asked for there, and those of them that its judge found."""
    if sample.finding is None:
        return {}
    labels = set(np.unique(sample.finding[one.mask]).tolist())
    here = [finding for finding in sample.asked if finding["label"] in labels]
    return {"asked": [each["kind"] for each in here], "found": [each["kind"] for each in here if each["found"]]}


def _write_split(stream: IO[str], split: str, entries: Entries) -> None:
    """Write one split piece by piece: a large one does not fit into memory."""
    stream.write('{"info": ')
    json.dump({"description": f"dentgen, split {split}"}, stream)
    stream.write(',\n"categories": ')
    json.dump([asdict(category) for category in categories()], stream)
    stream.write(',\n"images": [')
    _write_list(stream, (_image(number, entry) for number, entry in _of_split(split, entries)))
    stream.write('],\n"annotations": [')
    _write_list(stream, _numbered(split, entries))
    stream.write("]}\n")


def _of_split(split: str, entries: Entries) -> Iterable[tuple[int, Entry]]:
    return enumerate((entry for entry in entries() if entry["split"] == split), 1)


def _image(number: int, entry: Entry) -> dict[str, Any]:
    kept = ("height", "width", "key", "group", "prompt", "attributes", "license", "synthetic")
    return {"id": number, "file_name": entry["file"], **{name: entry[name] for name in kept}}


def _numbered(split: str, entries: Entries) -> Iterable[dict[str, Any]]:
    count = 0
    for number, entry in _of_split(split, entries):
        for annotation in entry["annotations"]:
            count += 1
            yield {"id": count, "image_id": number, **annotation}


def _write_list(stream: IO[str], values: Iterable[dict[str, Any]]) -> None:
    for place, value in enumerate(values):
        stream.write(",\n" if place else "\n")
        json.dump(value, stream)
