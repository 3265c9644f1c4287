"""What a finished dataset says of itself: its index, sealed versions and ticks, and the build that it was made from."""

from __future__ import annotations

from pydantic import Field

from dentgen.documents.document import Document


class ShardEntry(Document):
    """One output shard in the index."""

    name: str
    bytes: int
    sha256: str
    samples: int
    source_sha256: str = Field(default="", description="sha256 of the condition records that it was made from.")
    splits: dict[str, int] = Field(default={}, description="Its samples by split.")


class DatasetIndex(Document):
    """``index.json``: the shards of a dataset; readers use it instead of listing folders."""

    version: int
    spec_digest: str
    bundle_digest: str
    planned: int
    written: int
    rejected: int
    plan_sha256: str = Field(default="", description="sha256 of spec and bundle digest, environment and units.")
    ledger_sha256: str = Field(default="", description="sha256 of all commit records in order, without their timing.")
    samples_sha256: str = Field(default="", description="sha256 of samples.parquet.")
    shards: tuple[ShardEntry, ...]


class SealRecord(Document):
    """``versions/N/seal.json``: a sealed version in brief; the last file of its folder."""

    version: int = Field(ge=0)
    segment: int = Field(ge=0, description="The plan segment that it was sealed with.")
    units: int = Field(ge=0, description="Units that belong to it.")
    planned: int = Field(ge=0)
    written: int = Field(ge=0)
    rejected: int = Field(ge=0)
    shards: int = Field(ge=0)
    bytes: int = Field(ge=0, description="Of all its shards.")
    retired: int = Field(default=0, ge=0, description="Units of the version before that it leaves out.")
    plan_sha256: str = Field(description="Digest of its plan.")
    index_sha256: str = Field(description="sha256 of its index.json.")
    ledger_sha256: str = Field(description="sha256 of its ledger.parquet.")
    sealed: float = Field(default=0.0, ge=0, lt=1e11, description="Unix time, seconds.")
    tick: str = Field(default="", description='Key of the scheduled tick that sealed it, "" without one.')


class TickRecord(Document):
    """``ticks/HASH.json``: a scheduled tick that was completed; the same key does nothing a second time."""

    key: str
    version: int = Field(ge=0, description="The version that stood at its end.")


class SourceBuild(Document):
    """The finished build whose samples are the condition records of another build."""

    index_sha256: str = Field(
        description="sha256 of its index when the build began; shards that it gained later are in later indexes."
    )
    spec_digest: str
    bundle_digest: str
    synthetic: bool = Field(description="No photograph went into its images.")
    digital_source_type: str = Field(description="IPTC digital source type of its images.")
    findings: int = Field(default=0, ge=0, description="Findings that it asked for, which are carried over.")
    height: int = Field(ge=1, description="Height of its images, pixels.")
    width: int = Field(ge=1, description="Width of its images, pixels.")
