"""``lease.json``: who is building, and how it goes."""

from __future__ import annotations

from pydantic import Field

from dentgen.documents.document import Document


class LiveFigures(Document):
    """What a running build says of itself with its lease, for whoever watches it; it decides nothing."""

    samples: int = Field(ge=0, lt=2**63, description="Samples done, those of earlier runs included.")
    rejected: int = Field(default=0, ge=0, lt=2**63, description="How many of those of this run were rejected.")
    rate: float = Field(default=0.0, ge=0, lt=1e12, description="Samples per second over the last minute.")
    actors: int = Field(default=0, ge=0, lt=2**31, description="Ray actors alive; 0 without Ray.")
    retries: int = Field(default=0, ge=0, lt=2**63, description="Units of this run that took more than one attempt.")


class LeaseRecord(Document):
    """``lease.json``: who is building; its times are never compared with another machine's clock."""

    owner: str = Field(description="Random name of the run.")
    host: str
    process: int = Field(ge=0, lt=2**31, description="Process id.")
    machine: str = Field(default="", description='Identifies processes that can see each other; "" if unknown.')
    process_started: float = Field(allow_inf_nan=False, description="Start of the process, seconds since boot.")
    since: str = Field(description="When the lease was acquired, ISO 8601.")
    renewals: int = Field(default=0, ge=0, lt=2**63, description="Counts up while the owner is alive.")
    seconds: float = Field(
        gt=0, le=86400, allow_inf_nan=False, description="The lease is stale after this time without a renewal."
    )
    live: LiveFigures | None = Field(default=None, description="How the build stood at the last renewal, if told.")
