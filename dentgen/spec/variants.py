"""What differs between the variants of a record: everything that is random, or exactly one factor."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from dentgen.spec.section import Section

Factor = Literal["findings", "prompt", "lighting"]


class VariantsSpec(Section):
    """Counterfactual sets: the same mouth and noise, and in every variant but the first one changed factor."""

    same_noise: bool = Field(default=False, description="All variants of a record start from the same noise.")
    change: tuple[Factor, ...] = Field(
        default=(),
        description="What changes from the first variant, the reference, to the others, in turn: findings, which the "
        "reference then lacks; prompt; lighting, from the record's normals.",
    )
    prompts: tuple[str, ...] = Field(default=(), description="Prompts of the variants that change it, in turn.")

    def factor(self, variant: int) -> Factor | None:
        """What a variant changes; None for the reference, and where nothing is held fixed."""
        return self.change[(variant - 1) % len(self.change)] if variant and self.change else None

    def prompt(self, variant: int) -> str | None:
        """Prompt of a variant that changes it, None otherwise."""
        if self.factor(variant) != "prompt":
            return None
        return self.prompts[(variant - 1) // len(self.change) % len(self.prompts)]

    @model_validator(mode="after")
    def _consistent(self) -> VariantsSpec:
        if bool(self.change) != self.same_noise:
            raise ValueError(f"same_noise {self.same_noise}, change {list(self.change)}: expected both or neither")
        if len(set(self.change)) < len(self.change):
            raise ValueError(f"change: found {list(self.change)}, expected every factor once")
        if ("prompt" in self.change) != bool(self.prompts):
            raise ValueError("prompts are read where change names prompt, which needs at least one")
        return self
