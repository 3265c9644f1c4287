"""What became of a unit, from whoever commits it to whoever counts."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Self

from dentgen.documents.ledger import LedgerRecord
from dentgen.shards.rejections import rejections


@dataclass(frozen=True, slots=True)
class UnitOutcome:
    """Result of a unit: the number of samples committed, or an error, which may be one that ends the whole build.

    Attributes:
        unit: Its number.
        samples: Samples of the unit, written or rejected.
        error: Why there is none, "" if there is one.
        fatal: Whether the error ends the build.
        rejected: Rejected samples by class of their reason.
        attempt: Which attempt succeeded.
        bytes: Size of its shard.
        put_seconds: Time to commit it.
    """

    unit: int
    samples: int
    error: str = ""
    fatal: bool = False
    rejected: Mapping[str, int] = field(default_factory=dict)
    attempt: int = 1
    bytes: int = 0
    put_seconds: float = field(default=0.0, compare=False)

    @property
    def written(self) -> int:
        """Samples in the shard."""
        return self.samples - sum(self.rejected.values())

    @classmethod
    def of(cls, record: LedgerRecord, put: Callable[[], object]) -> Self:
        """Commit a unit by ``put``, and say what came of it.

        Raises:
            Exception: That of ``put``.
        """
        began = time.monotonic()
        put()
        return cls(
            record.unit,
            len(record.samples),
            rejected=dict(rejections([record])),
            attempt=record.timing.attempt if record.timing is not None else 1,
            bytes=record.bytes,
            put_seconds=time.monotonic() - began,
        )
