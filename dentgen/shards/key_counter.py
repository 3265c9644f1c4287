"""Counting of sample keys: which occur more than once among millions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from dentgen.documents.ledger import LedgerRecord


class KeyCounter:
    """Finds keys that occur more than once; while records are added, a key is 8 bytes of hash."""

    def __init__(self) -> None:
        """Start from nothing."""
        self._hashes: list[NDArray[np.int64]] = []

    def add(self, record: LedgerRecord) -> None:
        """Count the keys of a unit."""
        codes = (hash(sample.key) for sample in record.samples)
        self._hashes.append(np.fromiter(codes, np.int64, len(record.samples)))

    def repeated(self, records: Iterable[LedgerRecord]) -> dict[str, int]:
        """Keys that occur more than once, and how often.

        Args:
            records: The records that were added, read again only if two hashes are equal.
        """
        values, counts = np.unique(np.concatenate([*self._hashes, np.zeros(0, np.int64)]), return_counts=True)
        suspects = set(values[counts > 1].tolist())
        if not suspects:
            return {}
        keys = Counter(s.key for record in records for s in record.samples if hash(s.key) in suspects)
        return {key: count for key, count in keys.items() if count > 1}
