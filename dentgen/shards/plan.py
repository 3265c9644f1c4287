"""The plan of a build: its ordered units and everything resolved that decides their bytes."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from dentgen.documents import Document, Unit


class Plan(Document):
    """One plan segment: the ordered units of a build and everything resolved that decides their bytes."""

    segment: int = Field(ge=0)
    spec: dict[str, Any] = Field(description="The resolved build spec.")
    spec_digest: str
    bundle_digest: str
    environment: dict[str, str] = Field(description="Library versions, device kind, precision, slots, threads.")
    units: tuple[Unit, ...]

    @property
    def planned(self) -> int:
        """Samples that the segment plans."""
        variants = int(self.spec["sampling"]["variants"])
        return sum(unit.samples(variants) for unit in self.units)
