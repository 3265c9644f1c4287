"""Condition sets whose labels are as awkward as real ones: holes, parts, numbers off the teeth, pixels to ignore."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image

from dentgen.export.run import Export, ExportOutcome, export
from dentgen.shards.tar import png_bytes
from tests.conftest import write_tar

HEIGHT, WIDTH = 40, 56
SPLITS = ("train", "train", "validation", "test", "train")
Maps = dict[str, np.ndarray]


def hard_maps(seed: int) -> Maps:
    """Maps of one record: seg, fdi, lesion."""
    rng = np.random.default_rng(seed)
    seg = np.zeros((HEIGHT, WIDTH), np.uint8)
    fdi = np.zeros_like(seg)
    seg[5:35, 3:53] = 1
    for place, number in enumerate((18, 11, 21, 55)):
        left = 6 + 12 * place
        seg[10:30, left : left + 9], fdi[10:30, left : left + 9] = 2, number
    seg[14:18, 8:11] = 4
    fdi[20, 7:9], seg[20, 7:9] = 0, 1  # a hole
    seg[19:21, 18:27], fdi[19:21, 18:27] = 5, 0  # a wire that divides a tooth
    seg[0:4], seg[36:38, 0:9] = 3, 255
    scattered = rng.random(seg.shape) < 0.03
    seg[scattered] = rng.choice([0, 1, 2, 3, 4, 5, 6, 7, 8, 255], scattered.sum())
    lesion = np.where((fdi > 0) & (rng.random(seg.shape) < 0.2), rng.choice([2, 3, 9, 255], seg.shape), 0)
    return {"seg": seg, "fdi": fdi, "lesion": lesion.astype(np.uint8)}


def write_hard_set(folder: Path, *, broken: bool = False) -> dict[str, Maps]:
    """Five records in two shards, and one that is damaged; returns their maps by key."""
    maps = {f"jaw-{number}": hard_maps(number) for number in range(5)}
    records = {key: _members(number, *maps.values(), key=key) for number, key in enumerate(maps)}
    if broken:
        records["torn"] = {"seg.png": b"junk", "photo.png": png_bytes(np.zeros((8, 8, 3), np.uint8))}
    keys = list(records)
    write_tar(folder / "a.tar", {key: records[key] for key in keys[:3]})
    write_tar(folder / "b.tar", {key: records[key] for key in keys[3:]})
    return maps


def exported(tmp_path: Path, layout: Any, **options: Any) -> tuple[Path, dict[str, Maps], ExportOutcome]:
    """A hard set in another layout: its folder, the maps of its records, and what the export says."""
    maps = write_hard_set(tmp_path / "set")
    out = tmp_path / "out"
    return out, maps, export(Export(str(tmp_path / "set"), str(out), layout, **options), workers=1)


def photo_of(number: int) -> np.ndarray:
    """The picture of a record."""
    return np.random.default_rng(100 + number).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def _members(number: int, *maps: Maps, key: str) -> dict[str, bytes]:
    metadata = {
        "group": f"p{number // 2}", "split": SPLITS[number], "prompt": "teeth, = 1", "view": "left",
        "license": "CC0-1.0", "synthetic": True,
    }  # fmt: skip
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[ExifTags.Base.Artist] = "Somebody"
    Image.fromarray(photo_of(number)).save(buffer, "PNG", exif=exif)
    images = {f"{name}.png": png_bytes(values) for name, values in maps[int(key[-1])].items()}
    return {**images, "photo.png": buffer.getvalue(), "json": json.dumps(metadata).encode()}
