"""Pictures that are large and rich enough for a watermark, builds of them, and keys."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from tests.report.fake_builds import fake_build, written

KEY = bytes(range(32))
OTHER_KEY = bytes(range(1, 33))


def scene(seed: int, height: int = 128, width: int = 128) -> np.ndarray:
    """A picture (height, width, 3) of blobs, edges and some grain, as photographs have."""
    rng = np.random.default_rng(seed)
    layers = [gaussian_filter(rng.normal(size=(height, width)), sigma) * sigma for sigma in (1, 2, 4, 8, 16)]
    grey = np.where(layers[3] > 0, 150, 95) + 30 * sum(layers)
    tint = np.array([1.0, 0.9, 0.8]) + 0.05 * rng.normal(size=3)
    picture: np.ndarray = np.clip(grey[..., None] * tint, 0, 255).astype(np.uint8)
    return picture


def key_file(folder: Path, content: bytes = KEY, name: str = "watermark.key") -> str:
    """A file with a key."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    return str(folder / name)


def large_build(folder: Path, size: int = 128, **sections: Any) -> Path:
    """A build of two shards with four samples: scenes of this size."""

    def draw(key: str, shape: tuple[int, int]) -> np.ndarray:
        return scene(int.from_bytes(key.encode()[-8:], "big"), *shape)

    fake_build(folder, [written(0), written(2)], draw=draw, conditions={"size": size}, **sections)
    return folder


def decoded(content: bytes) -> np.ndarray:
    """Pixels (H, W, 3) of an encoded picture."""
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def as_jpeg(picture: np.ndarray, quality: int) -> np.ndarray:
    """A picture after compression."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality)
    return decoded(buffer.getvalue())


def resized(picture: np.ndarray, factor: float) -> np.ndarray:
    """A picture with other edges."""
    height, width = (round(edge * factor) for edge in picture.shape[:2])
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))
