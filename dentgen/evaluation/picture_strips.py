"""Pictures of a few records side by side, as data URIs of a self-contained page."""

from __future__ import annotations

import base64
import io
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_SHOWN_RECORDS: Final = 4


def shown_records(count: int) -> list[int]:
    """Evenly spaced record indices, so that several views are among them."""
    return sorted({round(i) for i in np.linspace(0, count - 1, min(_SHOWN_RECORDS, count))})


def strip(images: NDArray[np.uint8]) -> str:
    """Images (n, H, W, 3) side by side as a PNG data URI."""
    content = io.BytesIO()
    Image.fromarray(np.concatenate(list(images), 1)).save(content, "PNG")
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()
