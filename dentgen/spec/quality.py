"""The quality gate of a build: which judges look at every picture, what it must reach, and what becomes of it."""

from __future__ import annotations

from typing import Final, Literal, Self

from pydantic import Field, model_validator

from dentgen.records import FigureName
from dentgen.spec.section import Place, Section

#: Judges that ship with dentgen, and their reference.
EMBEDDED: Final = "embedded"


class LimitSpec(Section):
    """Values of a figure that pass, ends included."""

    least: float | None = Field(default=None, description="The smallest value; null: no end.")
    most: float | None = Field(default=None, description="The largest value; null: no end.")

    @model_validator(mode="after")
    def _has_an_end(self) -> Self:
        if self.least is None and self.most is None:
            raise ValueError("expected least, most or both; null in place of the limit switches the figure off")
        if self.least is not None and self.most is not None and self.least > self.most:
            raise ValueError(f"expected least below most, found {self.least} and {self.most}")
        return self


class GateSpec(Section):
    """How pictures are accepted or rejected by numbers."""

    judges: Place = Field(
        default=EMBEDDED, min_length=1,
        description="Judges: 'embedded', or a folder or URL that 'dentgen train' with recipe: judge wrote.",
    )  # fmt: skip
    reference: Place = Field(
        default=EMBEDDED, min_length=1,
        description="Labelled pictures whose figures set the limits: 'embedded' (of the judges), condition records "
        "with photos, or a finished build.",
    )  # fmt: skip
    reference_records: int = Field(
        default=512, ge=16, le=100_000, description="How many of them are measured, at most."
    )
    lose: float = Field(
        default=0.02, ge=0, le=0.5,
        description="Share of the reference pictures that the limits may reject, all figures together.",
    )  # fmt: skip
    limits: dict[FigureName, LimitSpec | None] = Field(
        default={}, description="Limits in place of those of the reference; null switches a figure off."
    )
    on_failure: Literal["reject", "record"] = Field(
        default="reject", description="Whether pictures that fail are rejected, or kept with what they fail by."
    )
    retry: int = Field(
        default=0, ge=0, le=8, description="How often a picture that fails is made again with other noise."
    )

    @model_validator(mode="after")
    def _rejects_what_it_retries(self) -> Self:
        if self.retry and self.on_failure == "record":
            raise ValueError(f"retry {self.retry}: expected on_failure reject, because record keeps what fails")
        return self


class QualitySpec(Section):
    """Quality requirements."""

    gate: GateSpec | None = Field(
        default=None, description="Judges that accept or reject every picture; null: none, {}: the defaults."
    )
    max_rejected: float = Field(
        default=0.05, ge=0, le=1, description="Maximum fraction of rejected samples with exit code 0."
    )

    @property
    def judges(self) -> str:
        """Where the gate's judges are, "" without a gate."""
        return "" if self.gate is None else self.gate.judges

    def with_places(self, judges: str, reference: str | None = None) -> QualitySpec:
        """The same requirements with the gate's judges, and perhaps its reference pictures, elsewhere."""
        if self.gate is None:
            return self
        places = {"judges": judges, **({} if reference is None else {"reference": reference})}
        return self.model_copy(update={"gate": self.gate.model_copy(update=places)})
