"""Painted regions for tests, and members of records that have them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from dentgen.conditions.painted import painted_bits, painted_entries
from dentgen.records import PAINTED_MEMBER, PaintedRegion
from dentgen.shards.tar import png_bytes

RED, WHITE = "yellow teeth, red gums", "white teeth"


def band(size: int, first: float = 0.0, last: float = 0.5) -> np.ndarray:
    """Mask (size, size) float32 of the columns between two shares of the width."""
    mask = np.zeros((size, size), np.float32)
    mask[:, round(first * size) : round(last * size)] = 1
    return mask


def region(mask: np.ndarray, name: str = "gum", prompt: str = RED, **values: Any) -> PaintedRegion:
    return PaintedRegion(name, prompt, mask, **values)


def with_painted(members: dict[str, bytes], regions: Sequence[PaintedRegion]) -> dict[str, bytes]:
    """A record's members with painted regions."""
    entries = [entry.model_dump(mode="json") for entry in painted_entries(regions)]
    metadata = {**json.loads(members.get("json", b"{}")), "painted": entries}
    bits = png_bytes(painted_bits(regions, regions[0].mask.shape))
    return {**members, f"{PAINTED_MEMBER}.png": bits, "json": json.dumps(metadata).encode()}
