"""The same ten photographs with the same outlines in every annotation format."""

from __future__ import annotations

import base64
import io
import json
import zlib
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
import yaml
from PIL import Image, ImageDraw

WIDTH, HEIGHT = 96, 64
COUNT = 10
NAMES = ("36", "37", "caries", "gum")
MEANINGS = {"36": "tooth 36", "37": "tooth 37", "caries": "caries", "gum": "gingiva"}
Outline = list[tuple[float, float]]


def outlines(number: int) -> list[tuple[str, Outline]]:
    """Label and outline of every area of one photograph; coordinates are halves of pixels."""
    rng = np.random.default_rng(number)

    def blob(x: float, y: float, radius: float) -> Outline:
        angles = np.sort(rng.uniform(0, 2 * np.pi, 12))
        reach = radius * rng.uniform(0.8, 1.2, 12)
        points = np.stack([x + reach * np.cos(angles), y + reach * np.sin(angles)], 1)
        return [(float(a), float(b)) for a, b in np.round(np.clip(points, 0, [WIDTH, HEIGHT]) * 2) / 2]

    return [("gum", blob(48, 40, 28)), ("36", blob(30, 30, 14)), ("37", blob(66, 30, 14)), ("caries", blob(30, 28, 4))]


def photo(number: int) -> np.ndarray:
    """Pixels of one photograph."""
    return np.random.default_rng(50 + number).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def expected_seg(number: int) -> np.ndarray:
    """Classes drawn by Pillow alone."""
    image = Image.new("L", (WIDTH, HEIGHT), 255)
    for label, outline in outlines(number):
        ImageDraw.Draw(image).polygon(outline, fill=1 if label == "gum" else 2)
    return np.asarray(image)


def write_images(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(COUNT):
        Image.fromarray(photo(number)).save(folder / f"p{number}.png")


def write_supervisely(folder: Path) -> None:
    write_images(folder / "img")
    (folder / "ann").mkdir()
    for number in range(COUNT):
        objects = [
            {"classTitle": label, "geometryType": "polygon", "points": {"exterior": outline, "interior": []}}
            for label, outline in outlines(number)
        ]
        content = {"size": {"width": WIDTH, "height": HEIGHT}, "objects": objects}
        (folder / "ann" / f"p{number}.png.json").write_text(json.dumps(content))


def write_coco(folder: Path) -> None:
    write_images(folder / "images")
    images = [{"id": n, "file_name": f"p{n}.png", "width": WIDTH, "height": HEIGHT} for n in range(COUNT)]
    annotations = [
        {"id": 0, "image_id": number, "category_id": NAMES.index(label), "segmentation": [np.ravel(outline).tolist()]}
        for number in range(COUNT)
        for label, outline in outlines(number)
    ]
    categories = [{"id": place, "name": name} for place, name in enumerate(NAMES)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(content))


def write_yolo(folder: Path) -> None:
    write_images(folder / "images")
    (folder / "labels").mkdir()
    (folder / "data.yaml").write_text(yaml.safe_dump({"names": dict(enumerate(NAMES))}))
    for number in range(COUNT):
        lines = [
            " ".join([str(NAMES.index(label)), *(f"{v:.6f}" for x, y in outline for v in (x / WIDTH, y / HEIGHT))])
            for label, outline in outlines(number)
        ]
        (folder / "labels" / f"p{number}.txt").write_text("\n".join(lines) + "\n")


def write_labelme(folder: Path) -> None:
    write_images(folder)
    for number in range(COUNT):
        shapes: list[dict[str, Any]] = [
            {"label": label, "points": outline, "shape_type": "polygon", "group_id": None, "flags": {}}
            for label, outline in outlines(number)
        ]
        content = {"version": "5.5.0", "shapes": shapes, "imagePath": f"p{number}.png", "imageData": None,
                   "imageHeight": HEIGHT, "imageWidth": WIDTH}  # fmt: skip
        (folder / f"p{number}.json").write_text(json.dumps(content))


def write_cvat(folder: Path) -> None:
    write_images(folder / "images")
    lines = ["<annotations><version>1.1</version>"]
    for number in range(COUNT):
        lines.append(f'<image id="{number}" name="p{number}.png" width="{WIDTH}" height="{HEIGHT}">')
        for label, outline in outlines(number):
            points = ";".join(f"{x:.2f},{y:.2f}" for x, y in outline)
            lines.append(f'<polygon label={quoteattr(label)} source="manual" points="{points}" z_order="0"/>')
        lines.append("</image>")
    (folder / "annotations.xml").write_text("\n".join([*lines, "</annotations>"]))


def write_label_studio(folder: Path) -> None:
    write_images(folder / "images")
    tasks = [
        {
            "id": number,
            "data": {"image": f"/data/upload/1/1a2b3c4d-p{number}.png"},
            "annotations": [
                {
                    "was_cancelled": False,
                    "result": [
                        {
                            "type": "polygonlabels", "original_width": WIDTH, "original_height": HEIGHT,
                            "value": {
                                "points": [[100 * x / WIDTH, 100 * y / HEIGHT] for x, y in outline],
                                "polygonlabels": [label],
                            },
                        }
                        for label, outline in outlines(number)
                    ],
                }
            ],
        }
        for number in range(COUNT)
    ]  # fmt: skip
    (folder / "export.json").write_text(json.dumps(tasks))


WRITERS: dict[str, Any] = {
    "supervisely": write_supervisely,
    "coco": write_coco,
    "yolo": write_yolo,
    "labelme": write_labelme,
    "cvat": write_cvat,
    "label-studio": write_label_studio,
}


def bitmap(mask: np.ndarray) -> str:
    """A mask as Supervisely stores it."""
    buffer = io.BytesIO()
    Image.fromarray(mask).convert("1").save(buffer, "PNG")
    return base64.b64encode(zlib.compress(buffer.getvalue())).decode()
