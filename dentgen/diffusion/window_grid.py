"""Where windows begin: as few as overlap by a share, evenly spaced, from border to border."""

from __future__ import annotations

import math

#: Height and width, latents or pixels.
Size = tuple[int, int]


def offsets(whole: int, part: int, overlap: float) -> list[int]:
    """Where windows begin on one axis.

    Args:
        whole: Length to cover.
        part: Length of a window, at most as long.
        overlap: Least share of a window that its neighbour has too, 0 <= overlap < 1.
    """
    stride = max(1, math.floor(part * (1 - overlap)))
    count = math.ceil((whole - part) / stride) + 1
    return [round(n * (whole - part) / max(count - 1, 1)) for n in range(count)]


def fitted(size: Size, edge: int) -> Size:
    """A square window of this edge, cut to what there is to cover."""
    return min(size[0], edge), min(size[1], edge)
