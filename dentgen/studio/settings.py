"""Settings of the studio's pictures, and the build spec that makes the same ones."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, ValidationError

from dentgen.errors import SpecError, found_and_expected
from dentgen.spec.build import BuildSpec
from dentgen.spec.model import Scale
from dentgen.spec.sampling import SchedulerName
from dentgen.spec.section import Section

#: Longer prompts are refused before they reach a tokenizer; SD 1.5 reads 75 tokens.
Prompt = Annotated[str, Field(max_length=4000)]


class Settings(Section):
    """What is set beside the maps."""

    seed: int = Field(default=0, ge=0, lt=2**53, description="Seed of the noise; a browser's numbers end at 2^53.")
    locked: bool = Field(default=True, description="Every picture begins with the same noise.")
    playing: bool = Field(default=True, description="Whether pictures stream.")
    steps: int = Field(default=4, ge=1, le=100, description="Denoising steps.")
    scheduler: SchedulerName = Field(default="unipc", description="Solver.")
    guidance_scale: float = Field(default=1.0, ge=0, le=30, description="Classifier-free guidance; 1 is none.")
    negative_prompt: Prompt = Field(default="", description="Read with another guidance than 1.")
    variants: int = Field(default=4, ge=1, le=16, description="Pictures side by side, and of a saved record.")
    background: float = Field(
        default=0.0, ge=0, lt=1, description="How much of the record's photo pictures begin with; 0 is noise alone."
    )
    adapters: dict[str, Scale] = Field(default={}, description="Scales of the adapters, one or by class.")

    @classmethod
    def of(cls, spec: BuildSpec) -> Settings:
        """Those of a build spec; a solver that is a config of its own stays the spec's."""
        sampling = spec.sampling
        named: dict[str, Any] = {"scheduler": sampling.scheduler} if isinstance(sampling.scheduler, str) else {}
        return cls(
            seed=max(0, sampling.seed), steps=sampling.steps, guidance_scale=sampling.guidance_scale,
            negative_prompt=sampling.negative_prompt, variants=min(sampling.variants, 16),
            background=round(1 - sampling.strength, 6) if sampling.start_from == "photo" else 0.0,
            adapters=spec.model.adapters, **named,
        )  # fmt: skip

    def build_spec(self, base: BuildSpec, painted: int = 0) -> BuildSpec:
        """The spec of these pictures.

        Args:
            base: Everything else.
            painted: Layers with prompts of their own.

        Raises:
            SpecError: If values do not go together; it names the key.
        """
        values = base.model_dump(mode="json")
        own = isinstance(base.sampling.scheduler, dict)
        values["sampling"] |= self.model_dump(
            include={"seed", "steps", "guidance_scale", "variants", *(() if own else ("scheduler",))}
        )
        guided = self.guidance_scale != 1 and base.sampling.guidance != "self"
        values["sampling"] |= {"negative_prompt": self.negative_prompt if guided else "", "prompt": None}
        values["sampling"] |= self._start(base)
        values["sampling"] |= {} if self.steps == base.sampling.steps else {"timesteps": None}
        values["model"]["adapters"] = {
            name: self.adapters.get(name, scale) for name, scale in base.model.adapters.items()
        }
        if painted:
            values["regions"]["painted"] = painted
        return _with_room(values)

    def _start(self, base: BuildSpec) -> dict[str, Any]:
        """What pictures start from: the record's photo, as the background, or what the spec says."""
        if self.background:
            return {"start_from": "photo", "strength": round(1 - self.background, 6)}
        return {"strength": 1.0} if base.sampling.start_from == "photo" else {}


def _with_room(values: dict[str, Any]) -> BuildSpec:
    """The spec with as many slots as a picture has rows, if it asks for fewer."""
    slots = values["engine"]["slots"]
    roomy = _validated({**values, "engine": {**values["engine"], "slots": 10**6, "control_slots": None}})
    rows = roomy.first_rows
    if rows > slots:
        values["engine"] |= {"slots": rows, "control_slots": None}
    return _validated(values)


def _validated(values: dict[str, Any]) -> BuildSpec:
    try:
        return BuildSpec.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        message, found, expected = found_and_expected(first)
        key = ".".join(str(part) for part in first["loc"] if "[" not in str(part))
        raise SpecError(message, key=key, found=found, expected=expected) from error
