"""The order of training rows: shuffled epochs, a pure function of seed and row number.

Consecutive rows come from a few chunks of the shards, so that a stream reads each chunk once per epoch. Rows can be
looked up in any order, so a resumed run reads what it would have read.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dentgen.seeding import numpy_generator

_CHUNK: Final = 32
_WINDOW: Final = 32


@dataclass(frozen=True, slots=True)
class Chunk:
    """Records ``start`` to ``stop`` of one shard."""

    shard: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Place:
    """One row's record.

    Attributes:
        chunk: Where it is read.
        position: Its number among the shard's records of the split.
        mirrored: Whether the row shows its mirror image.
        split: The split that positions count within, None for all records.
    """

    chunk: Chunk
    position: int
    mirrored: bool
    split: str | None = None


def place_of(sizes: Sequence[int], shard: int, position: int, *, mirrored: bool, split: str | None) -> Place:
    """The place of a record outside of the order, in the chunk in which rows read it."""
    start = position // _CHUNK * _CHUNK
    return Place(Chunk(shard, start, min(start + _CHUNK, sizes[shard])), position, mirrored, split)


class RowOrder:
    """An endless, deterministic sequence of places."""

    def __init__(
        self, sizes: Sequence[int], seed: int, split: str | None = None, *, chunk: int = _CHUNK, window: int = _WINDOW
    ) -> None:
        """Divide the shards into chunks.

        Args:
            sizes: Records per shard.
            seed: Names the order.
            split: The split that they belong to, None for all records.
            chunk: Records that are read together.
            window: Chunks among which rows are shuffled; a source of fewer chunks is shuffled completely.
        """
        self._seed, self._split, self._window = seed, split, window
        self._chunks = [
            Chunk(shard, start, min(start + chunk, size))
            for shard, size in enumerate(sizes)
            for start in range(0, size, chunk)
        ]
        self.records = sum(sizes)
        self._epoch = lru_cache(maxsize=2)(self._epoch_windows)
        self._rows = lru_cache(maxsize=2)(self._window_rows)

    def places(self, first: int, count: int) -> list[Place]:
        """Places of rows ``first`` to ``first + count``, counted over the whole run."""
        return [self._place(row) for row in range(first, first + count)]

    def _place(self, row: int) -> Place:
        epoch, offset = divmod(row, self.records)
        windows, ends = self._epoch(epoch)
        window = bisect_right(ends, offset)
        before = ends[window - 1] if window else 0
        chunk, position, mirrored = self._rows(epoch, window)[offset - before]
        return Place(windows[window][chunk], int(position), bool(mirrored), self._split)

    def _epoch_windows(self, epoch: int) -> tuple[list[list[Chunk]], list[int]]:
        order = numpy_generator(self._seed, "chunks", epoch).permutation(len(self._chunks))
        windows = [
            [self._chunks[i] for i in order[start : start + self._window]]
            for start in range(0, len(order), self._window)
        ]
        return windows, list(accumulate(sum(c.stop - c.start for c in window) for window in windows))

    def _window_rows(self, epoch: int, window: int) -> NDArray[np.int64]:
        """(rows, 3): chunk within the window, position within the shard, mirrored."""
        rng = numpy_generator(self._seed, "rows", epoch, window)
        chunks = self._epoch(epoch)[0][window]
        rows = [(i, position, 0) for i, chunk in enumerate(chunks) for position in range(chunk.start, chunk.stop)]
        shuffled = rng.permutation(np.array(rows, np.int64))
        shuffled[:, 2] = rng.integers(2, size=len(shuffled))
        return shuffled
