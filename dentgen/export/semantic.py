"""Layouts with a class map for every picture: nnU-Net, MONAI and Pascal VOC."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dentgen import storage
from dentgen.conditions.labels import IGNORE, SEG_CLASSES, SEG_PALETTE
from dentgen.export.layout import NO_SPLIT, Entries, Entry, Loss, entry_of, flat_name, put_picture, split_of, splits_of
from dentgen.export.source import ExportSample
from dentgen.seeding import derive_seed
from dentgen.shards.tar import json_bytes, png_bytes

#: nnU-Net wants consecutive labels with the ignored one last.
_CONSECUTIVE: Final = {value: place for place, value in enumerate(sorted(SEG_CLASSES))}
_TO_CONSECUTIVE: Final = np.array([_CONSECUTIVE.get(value, 0) for value in range(256)], np.uint8)
_FOLDS: Final = 5


@dataclass(frozen=True, slots=True)
class NnUnetFormat:
    """``imagesTr``, ``labelsTr``, ``imagesTs``, ``labelsTs`` and ``dataset.json`` of nnU-Net v2."""

    def write(self, destination: str, unit: str, samples: Iterable[ExportSample]) -> list[Entry]:
        """Write RGB pictures and consecutive labels."""
        return [self._entry(destination, sample) for sample in samples]

    def finish(self, destination: str, entries: Entries) -> None:
        """Write ``dataset.json``, and the given split as the one fold, to be copied beside the preprocessed data."""
        labels = {SEG_CLASSES[value]: place for value, place in _CONSECUTIVE.items()}
        training = [entry for entry in entries() if entry["split"] != "test"]
        dataset = {
            "channel_names": {"0": "R", "1": "G", "2": "B"}, "labels": labels, "numTraining": len(training),
            "file_ending": ".png", "overwrite_image_reader_writer": "NaturalImage2DIO", "name": "dentgen",
        }  # fmt: skip
        storage.overwrite(storage.join(destination, "dataset.json"), _ordered(dataset))
        held_out = [entry["case"] for entry in training if entry["split"] != NO_SPLIT]
        if held_out:
            fold = {"train": [entry["case"] for entry in training if entry["split"] == NO_SPLIT], "val": held_out}
            storage.overwrite(storage.join(destination, "splits_final.json"), json_bytes([fold]))

    def _entry(self, destination: str, sample: ExportSample) -> Entry:
        case, part = flat_name(sample.key), "Ts" if split_of(sample) == "test" else "Tr"
        picture = storage.join(destination, f"images{part}", f"{case}_0000.png")
        storage.overwrite(picture, _png_of(sample))
        storage.overwrite(
            storage.join(destination, f"labels{part}", f"{case}.png"), png_bytes(_TO_CONSECUTIVE[sample.seg])
        )
        return entry_of(sample, f"{case}_0000.png", case=case)


@dataclass(frozen=True, slots=True)
class MonaiFormat:
    """``images/``, ``labels/``, ``teeth/`` and a datalist with folds that never divide a patient."""

    def write(self, destination: str, unit: str, samples: Iterable[ExportSample]) -> list[Entry]:
        """Write pictures, class maps and FDI maps."""
        return [self._entry(destination, sample) for sample in samples]

    def finish(self, destination: str, entries: Entries) -> None:
        """Write ``dataset.json``."""
        lists: dict[str, list[dict[str, Any]]] = {"training": [], "validation": [], "test": []}
        for entry in entries():
            name = entry["split"] if entry["split"] in {"validation", "test"} else "training"
            item = {"image": f"images/{entry['file']}", "label": entry["label"], "teeth": entry["teeth"]}
            fold = {"fold": derive_seed("fold", entry["group"]) % _FOLDS} if name == "training" else {}
            lists[name].append({**item, **fold})
        labels = {str(value): name for value, name in SEG_CLASSES.items()}
        content = {"name": "dentgen", "labels": labels, "ignore_index": IGNORE, **lists}
        storage.overwrite(storage.join(destination, "dataset.json"), _ordered(content))

    def _entry(self, destination: str, sample: ExportSample) -> Entry:
        name = f"{flat_name(sample.key)}.png"
        for folder, values in (("labels", sample.seg), ("teeth", sample.fdi)):
            storage.overwrite(storage.join(destination, folder, name), png_bytes(values))
        file = put_picture(destination, "images", sample)
        return entry_of(sample, file, label=f"labels/{name}", teeth=f"teeth/{name}")


@dataclass(frozen=True, slots=True)
class VocFormat:
    """``JPEGImages``, ``SegmentationClass``, ``SegmentationObject`` and ``ImageSets/Segmentation`` of Pascal VOC."""

    def write(self, destination: str, unit: str, samples: Iterable[ExportSample]) -> list[Entry]:
        """Write pictures and palette images of classes, and of teeth by FDI number."""
        return [self._entry(destination, sample) for sample in samples]

    def finish(self, destination: str, entries: Entries) -> None:
        """Write the lists of keys and the names of the classes."""
        for split in splits_of(entries):
            name = {"validation": "val"}.get(split, split)
            keys = "".join(f"{flat_name(entry['key'])}\n" for entry in entries() if entry["split"] == split)
            place = storage.join(destination, "ImageSets", "Segmentation", f"{name}.txt")
            storage.overwrite(place, keys.encode())
        names = "".join(f"{value} {name}\n" for value, name in SEG_CLASSES.items())
        storage.overwrite(storage.join(destination, "classes.txt"), names.encode())

    def _entry(self, destination: str, sample: ExportSample) -> Entry:
        name = f"{flat_name(sample.key)}.png"
        for folder, values in (("SegmentationClass", sample.seg), ("SegmentationObject", sample.fdi)):
            storage.overwrite(storage.join(destination, folder, name), _palette_png(values))
        return entry_of(sample, put_picture(destination, "JPEGImages", sample), Loss())


def _png_of(sample: ExportSample) -> bytes:
    if sample.extension == "png":
        return sample.picture
    return png_bytes(np.asarray(Image.open(io.BytesIO(sample.picture)).convert("RGB")))


def _palette_png(values: NDArray[np.uint8]) -> bytes:
    """Indices with dentgen's palette, which viewers show in colour."""
    image, buffer = Image.fromarray(values).convert("L"), io.BytesIO()
    indexed = Image.new("P", image.size)
    indexed.putdata(np.asarray(image).ravel().tolist())
    indexed.putpalette(SEG_PALETTE.tobytes())
    indexed.save(buffer, "PNG")
    return buffer.getvalue()


def _ordered(content: dict[str, Any]) -> bytes:
    """JSON in the order in which people read it."""
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()
