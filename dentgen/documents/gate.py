"""The quality gate as a plan records it."""

from __future__ import annotations

from pydantic import Field

from dentgen.documents.document import Document
from dentgen.records import FigureName


class FigureLimit(Document):
    """Values of a figure that pass, ends included; null for no end."""

    least: float | None = None
    most: float | None = None


class PlannedGate(Document):
    """The quality gate as it was resolved when the build was planned."""

    judges_sha256: str = Field(description="Digest of the judges.")
    reference_sha256: str = Field(description="Digest of the figures of the reference pictures.")
    reference_records: int = Field(ge=0, description="How many pictures they are of.")
    limits: dict[FigureName, FigureLimit] = Field(description="Limits by figure.")
    lost: float = Field(ge=0, le=1, description="Share of the reference pictures that are outside of them.")
