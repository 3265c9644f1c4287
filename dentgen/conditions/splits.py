"""The split of a patient whose source names none."""

from __future__ import annotations

from typing import Final

from dentgen.seeding import derive_seed

SPLIT_SHARES: Final = (("train", 0.8), ("validation", 0.1), ("test", 0.1))


def drawn_split(group: str) -> str:
    """Split of a patient, by a hash of its name: adding patients never moves one to another split."""
    place = derive_seed("split", group) % 1000 / 1000
    for name, share in SPLIT_SHARES:
        if place < share:
            return name
        place -= share
    return SPLIT_SHARES[-1][0]
