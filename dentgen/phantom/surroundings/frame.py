"""What people add to photographs: borders that hide a part of the picture, and text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

#: Share of framed pictures with bars above and below or left and right; the others have a border all around.
_BARRED_SHARE: Final = 0.6
_BORDERED_SHARE, _LETTERED_SHARE = 0.55, 0.6
#: sRGB levels of borders: black, white, grey.
_BORDERS: Final = (0, 255, 128)


@dataclass(frozen=True, slots=True)
class Frame:
    """Additions to one picture.

    Attributes:
        margins: Shares of the edge that borders hide: top, right, bottom, left.
        border: sRGB level of the border.
        text: Text over the picture, "" for none; it hides nothing.
        place: Left upper corner of the text as shares of the edge.
        height: Height of the text as a share of the edge.
        opacity: 0..1.
    """

    margins: tuple[float, float, float, float]
    border: int
    text: str
    place: tuple[float, float]
    height: float
    opacity: float

    def visible(self, size: int) -> NDArray[np.bool_]:
        """(H, W) mask of the part that no border hides."""
        top, right, bottom, left = (round(share * size) for share in self.margins)
        mask = np.zeros((size, size), bool)
        mask[top : size - bottom, left : size - right] = True
        return mask

    def added_to(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A picture (H, W, 3) with border and text."""
        framed = np.where(self.visible(len(picture))[..., None], picture, np.uint8(self.border))
        return framed if not self.text else self._lettered(framed)

    def _lettered(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        size = len(picture)
        layer = Image.new("L", (size, size))
        font = ImageFont.load_default(max(6.0, self.height * size))
        at = (self.place[0] * size, self.place[1] * size)
        ImageDraw.Draw(layer).text(at, self.text, fill=255, font=font)
        share = self.opacity * np.asarray(layer)[..., None] / 255
        return np.asarray(np.round(picture * (1 - share) + 255 * share), np.uint8)


def sample_frame(share: float, rng: np.random.Generator) -> Frame | None:
    """Draw the frame of one picture, or None; ``share`` of pictures have one."""
    if rng.random() >= share:
        return None
    bordered = rng.random() < _BORDERED_SHARE
    text = _text(rng) if not bordered or rng.random() < _LETTERED_SHARE else ""
    return Frame(
        margins=_margins(rng) if bordered else (0.0, 0.0, 0.0, 0.0),
        border=_BORDERS[rng.choice(3, p=(0.6, 0.3, 0.1))],
        text=text,
        place=(float(rng.uniform(0.02, 0.5)), float(rng.choice([rng.uniform(0.01, 0.08), rng.uniform(0.8, 0.92)]))),
        height=float(rng.uniform(0.04, 0.09)),
        opacity=float(rng.uniform(0.35, 1.0)),
    )


def _margins(rng: np.random.Generator) -> tuple[float, float, float, float]:
    wide, slant = float(rng.uniform(0.03, 0.18)), float(rng.uniform(0.5, 1.0))
    if rng.random() >= _BARRED_SHARE:
        return wide / 2, wide / 2, wide / 2, wide / 2
    return (wide, 0.0, wide * slant, 0.0) if rng.random() < 0.7 else (0.0, wide, 0.0, wide * slant)


def _text(rng: np.random.Generator) -> str:
    """A date, a figure's number or a camera's file name."""
    year, month, day, number = (int(rng.integers(*span)) for span in ((1998, 2027), (1, 13), (1, 29), (1, 10_000)))
    texts = (f"{day:02d}/{month:02d}/{year}", f"{year}-{month:02d}-{day:02d}", f"Fig. {number % 20 + 1}",
             f"IMG_{number:04d}", "BEFORE", "AFTER", f"{number % 400 + 1}")  # fmt: skip
    return texts[int(rng.integers(len(texts)))]
