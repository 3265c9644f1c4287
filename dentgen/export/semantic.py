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
from dentgen.export.layout import USUAL_SPLITS, Entries, Entry, entry_of, flat_name, put_picture, splits_of
from dentgen.export.source import NO_SPLIT, ExportSample
from dentgen.records import ImageFormat
from dentgen.seeding import derive_seed
from dentgen.shards.tar import json_bytes, png_bytes

#: nnU-Net wants consecutive labels with the ignored one last.
_CONSECUTIVE: Final = {value: place for place, value in enumerate(sorted(SEG_CLASSES))}
_TO_CONSECUTIVE: Final = np.array([_CONSECUTIVE.get(value, 0) for value in range(256)], np.uint8)
_FOLDS: Final = 5
#: Cream for what is not annotated, as in VOC; one colour for every tooth number.
_CLASS_PALETTE: Final = SEG_PALETTE.copy()
_CLASS_PALETTE[IGNORE] = (224, 224, 192)
_OBJECT_PALETTE: Final = np.array([[(37 * n) % 256, (91 * n) % 256, (151 * n) % 256] for n in range(256)], np.uint8)


def group_folds(groups: Iterable[str]) -> dict[str, int]:
    """Fold, 0 to 4, of every group.

    It follows from the group's name, so that a growing set keeps it. Where a fold would stay empty, because there are
    few groups, they take turns.
    """
    seeds = {group: derive_seed("fold", group) for group in groups}
    folds = {group: seed % _FOLDS for group, seed in seeds.items()}
    if len(set(folds.values())) == _FOLDS:
        return folds
    return {group: number % _FOLDS for number, group in enumerate(sorted(seeds, key=lambda group: seeds[group]))}


@dataclass(frozen=True, slots=True)
class NnUnetFormat:
    """``imagesTr``, ``labelsTr``, ``imagesTs``, ``labelsTs``, ``dataset.json``, ``splits_final.json`` of nnU-Net v2."""

    splits: frozenset[str] | None = USUAL_SPLITS
    extension: ImageFormat | None = "png"

    def write(self, destination: str, unit: str, samples: Iterable[ExportSample]) -> list[Entry]:
        """Write RGB pictures and consecutive labels."""
        return [self._entry(destination, sample) for sample in samples]

    def finish(self, destination: str, entries: Entries) -> None:
        """Write ``dataset.json``, and up to five folds that never divide a group.

        The first fold is the given validation split, if there is one. Folds without cases to train or to validate on,
        which nnU-Net fails on, are left out; a set of one group has none, and nnU-Net then draws its own.
        """
        labels = {SEG_CLASSES[value]: place for value, place in _CONSECUTIVE.items()}
        training = [entry for entry in entries() if entry["split"] != "test"]
        dataset = {
            "channel_names": {"0": "R", "1": "G", "2": "B"}, "labels": labels, "numTraining": len(training),
            "file_ending": ".png", "overwrite_image_reader_writer": "NaturalImage2DIO", "name": "dentgen",
        }  # fmt: skip
        storage.overwrite(storage.join(destination, "dataset.json"), _ordered(dataset))
        if folds := _folds(training):
            storage.overwrite(storage.join(destination, "splits_final.json"), json_bytes(folds))

    def _entry(self, destination: str, sample: ExportSample) -> Entry:
        case, part = flat_name(sample.key), "Ts" if sample.split == "test" else "Tr"
        picture = storage.join(destination, f"images{part}", f"{case}_0000.png")
        storage.overwrite(picture, sample.picture)
        storage.overwrite(
            storage.join(destination, f"labels{part}", f"{case}.png"), png_bytes(_TO_CONSECUTIVE[sample.seg])
        )
        return entry_of(sample, f"{case}_0000.png", case=case)


@dataclass(frozen=True, slots=True)
class MonaiFormat:
    """``images/``, ``labels/``, ``teeth/``, ``lesions/`` and a datalist with folds that never divide a group."""

    splits: frozenset[str] | None = USUAL_SPLITS
    extension: ImageFormat | None = None

    def write(self, destination: str, unit: str, samples: Iterable[ExportSample]) -> list[Entry]:
        """Write pictures, class maps and FDI maps."""
        return [self._entry(destination, sample) for sample in samples]

    def finish(self, destination: str, entries: Entries) -> None:
        """Write ``dataset.json``."""
        lists: dict[str, list[dict[str, Any]]] = {"training": [], "validation": [], "test": []}
        folds = group_folds({entry["group"] for entry in entries() if entry["split"] == NO_SPLIT})
        for entry in entries():
            name = entry["split"] if entry["split"] in {"validation", "test"} else "training"
            fold = {"fold": folds[entry["group"]]} if name == "training" else {}
            lists[name].append({"image": f"images/{entry['file']}", **entry["maps"], **fold})
        labels = {str(value): name for value, name in SEG_CLASSES.items()}
        content: dict[str, Any] = {"name": "dentgen", "labels": labels, "ignore_index": IGNORE}
        content |= {name: items for name, items in lists.items() if items}
        storage.overwrite(storage.join(destination, "dataset.json"), _ordered(content))

    def _entry(self, destination: str, sample: ExportSample) -> Entry:
        name, maps = f"{flat_name(sample.key)}.png", {}
        kinds = {"label": ("labels", sample.seg), "teeth": ("teeth", sample.fdi), "lesion": ("lesions", sample.lesion)}
        for kind, (folder, values) in kinds.items():
            if values is not None:
                storage.overwrite(storage.join(destination, folder, name), png_bytes(values))
                maps[kind] = f"{folder}/{name}"
        return entry_of(sample, put_picture(destination, "images", sample), maps=maps)


@dataclass(frozen=True, slots=True)
class VocFormat:
    """``JPEGImages``, ``SegmentationClass``, ``SegmentationObject`` and ``ImageSets/Segmentation`` of Pascal VOC.

    Pictures are JPEG of quality 95, because VOC's readers look for that ending.
    """

    splits: frozenset[str] | None = None
    extension: ImageFormat | None = "jpg"

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
        for folder, values, palette in (
            ("SegmentationClass", sample.seg, _CLASS_PALETTE), ("SegmentationObject", sample.fdi, _OBJECT_PALETTE),
        ):  # fmt: skip
            storage.overwrite(storage.join(destination, folder, name), _palette_png(values, palette))
        return entry_of(sample, put_picture(destination, "JPEGImages", sample))


def _folds(training: list[Entry]) -> list[dict[str, list[str]]]:
    """Folds with cases on both sides; the first is the given validation split, if that is one."""
    of_group = group_folds({entry["group"] for entry in training})
    drawn = [_fold(training, [of_group[entry["group"]] == number for entry in training]) for number in range(_FOLDS)]
    usable = [fold for fold in drawn if fold["train"] and fold["val"]]
    given = _fold(training, [entry["split"] != NO_SPLIT for entry in training])
    return [given, *usable[1:]] if given["train"] and given["val"] else usable


def _fold(training: list[Entry], held_out: list[bool]) -> dict[str, list[str]]:
    cases = [(entry["case"], out) for entry, out in zip(training, held_out, strict=True)]
    return {"train": [case for case, out in cases if not out], "val": [case for case, out in cases if out]}


def _palette_png(values: NDArray[np.uint8], palette: NDArray[np.uint8]) -> bytes:
    """Indices with a palette (256, 3), which viewers show in colour."""
    image, buffer = Image.fromarray(values).convert("L"), io.BytesIO()
    indexed = Image.new("P", image.size)
    indexed.putdata(np.asarray(image).ravel().tolist())
    indexed.putpalette(palette.tobytes())
    indexed.save(buffer, "PNG")
    return buffer.getvalue()


def _ordered(content: dict[str, Any]) -> bytes:
    """JSON in the order in which people read it."""
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()
