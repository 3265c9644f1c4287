"""The commit record of a unit."""

from __future__ import annotations

from pydantic import Field

from dentgen.documents.document import Document
from dentgen.documents.samples import SampleStatus


class UnitTiming(Document):
    """When and how fast a unit was generated, for reports."""

    started: float = Field(ge=0, lt=1e11, description="Unix time, seconds.")
    seconds: float = Field(gt=-1e11, lt=1e11, description="Duration from reading to packing.")
    committed: float = Field(default=0.0, ge=0, lt=1e11, description="Unix time of the commit, seconds.")
    worker: str = Field(description="Anonymous name of the process that generated it.")
    attempt: int = Field(
        default=1,
        ge=1,
        lt=2**31,
        description="1, and one more for every process of that run that was lost while it held the unit.",
    )


class LedgerRecord(Document):
    """The commit record of one unit, written last; the unit is done if and only if this exists."""

    unit: int
    spec_digest: str
    bundle_digest: str
    shard: str = Field(description='Name under shards/, "" if every record of the unit was rejected.')
    bytes: int = Field(ge=0)
    sha256: str
    source_sha256: str = Field(default="", description="sha256 of the condition records as they were read.")
    samples: tuple[SampleStatus, ...]
    timing: UnitTiming | None = None

    @property
    def written(self) -> int:
        """Samples in the shard."""
        return sum(sample.status == "written" for sample in self.samples)

    @property
    def rejected(self) -> int:
        """Planned samples that are not in the shard."""
        return len(self.samples) - self.written
