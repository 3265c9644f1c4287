"""Training specs of students, distilled with an adapter attached: few-step LoRAs of the UNet, and smaller UNets."""

from __future__ import annotations

from typing import Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from dentgen.spec.quality import EMBEDDED
from dentgen.spec.section import Place
from dentgen.spec.train_recipes import LatentSpec, check_shown
from dentgen.spec.train_reward import JudgeName
from dentgen.spec.train_sections import RECIPE, TRAIN_STEPS, ConditionsSpec, ControlKind, wrong_value

#: More steps than these need no student.
_MOST_STEPS: Final = 8


class ControlledSpec(LatentSpec):
    """What all recipes read that distil a model with an adapter attached."""

    conditions: ConditionsSpec = Field(
        default=ConditionsSpec(), description="How records become images and control images."
    )
    control_image: ControlKind = Field(default="blended", description="Control image that the adapter is shown.")
    adapter: str | None = Field(
        default="blended",
        min_length=1,
        description="Adapter that teacher and student generate with; null: none, for a generator without control.",
    )
    adapter_scale: float = Field(default=1.0, gt=0, description="Scale of the adapter's residuals, as builds use it.")

    @property
    def control_kinds(self) -> tuple[ControlKind, ...]:
        """The control image, if there is an adapter that is shown it."""
        return () if self.adapter is None else (self.control_image,)

    @model_validator(mode="after")
    def _check_adapter(self) -> Self:
        check_shown(self.adapter, self.control_image)
        return self


class StudentSpec(ControlledSpec):
    """What all recipes of few-step LoRAs read."""

    rank: int = Field(default=16, gt=0, description="LoRA rank of the trained part.")


class ConsistencySpec(StudentSpec):
    """Students that agree with themselves along the teacher's DDIM path."""

    guidance: tuple[float, float]
    ladder: int = Field(default=50, gt=0, le=TRAIN_STEPS, description="Timesteps of the teacher's DDIM solver.")

    @field_validator("guidance")
    @classmethod
    def _is_ordered(cls, guidance: tuple[float, float]) -> tuple[float, float]:
        if guidance[0] > guidance[1]:
            raise ValueError("expected the lower end first")
        return guidance

    @field_validator("ladder")
    @classmethod
    def _divides_steps(cls, ladder: int) -> int:
        if TRAIN_STEPS % ladder:
            raise ValueError(f"expected a divisor of {TRAIN_STEPS}, so that the ladder reaches the last timestep")
        return ladder


class LcmLoraSpec(ConsistencySpec):
    """Distils a LoRA for few-step sampling with an adapter attached."""

    recipe: Literal["lcm-lora"] = RECIPE
    name: str | None = Field(default=None, min_length=1, description="Name of the LoRA in the bundle; null: lcm.")
    guidance: tuple[float, float] = Field(
        default=(5.0, 15.0),
        description="Range of LCM's guidance w of the teacher, lower end first; 0 is none: guidance_scale is w + 1.",
    )

    @property
    def part(self) -> str:
        """Name of the LoRA in the bundle."""
        return self.name or "lcm"


class PhasedLoraSpec(ConsistencySpec):
    """Distils a LoRA that samples in as many DDIM steps as it has phases."""

    recipe: Literal["phased-lora"] = RECIPE
    name: str | None = Field(default=None, min_length=1, description="Name of the LoRA in the bundle; null: phased.")
    phases: int = Field(
        default=2, ge=1, le=_MOST_STEPS, description="Parts of equal length of the time axis, one per sampling step."
    )
    guidance: tuple[float, float] = Field(
        default=(1.0, 4.0), description="Range of the teacher's guidance_scale, lower end first; 1 is none."
    )

    @property
    def part(self) -> str:
        """Name of the LoRA in the bundle."""
        return self.name or "phased"

    @field_validator("phases")
    @classmethod
    def _are_equal(cls, phases: int) -> int:
        if TRAIN_STEPS % phases:
            raise ValueError(f"expected a divisor of {TRAIN_STEPS}, so that DDIM's steps end at the edges of phases")
        return phases

    @model_validator(mode="after")
    def _edges_are_rungs(self) -> Self:
        if self.ladder % self.phases:
            raise wrong_value("ladder", self.ladder, f"a multiple of phases = {self.phases}")
        return self


class DmdLoraSpec(StudentSpec):
    """Distils a LoRA for one to a few steps by matching the distribution of the teacher's images."""

    recipe: Literal["dmd-lora"] = RECIPE
    name: str | None = Field(default=None, min_length=1, description="Name of the LoRA in the bundle; null: dmd.")
    sampling_steps: int = Field(default=2, ge=1, le=_MOST_STEPS, description="LCM steps that the student samples in.")
    guidance: float = Field(default=1.75, ge=0, description="The teacher's guidance_scale; 1 is none.")
    critic_steps: int = Field(default=5, ge=1, description="Steps of the critic before each step of the student.")
    critic_learning_rate: float | None = Field(
        default=None, gt=0, description="Peak learning rate of the critic; null: learning_rate."
    )
    start_lora: str | None = Field(
        default=None,
        min_length=1,
        description="LoRA of the bundle that the student starts from, of the same rank; null starts from the teacher.",
    )

    @property
    def part(self) -> str:
        """Name of the LoRA in the bundle."""
        return self.name or "dmd"

    @model_validator(mode="after")
    def _start_is_another(self) -> Self:
        if self.start_lora == self.part:
            raise wrong_value("start_lora", self.start_lora, f"another LoRA than {self.part}, which is written")
        return self


class NoiseConsistencySpec(LatentSpec):
    """Trains an adapter that gives a frozen one-step generator its control, from the generator's own pictures."""

    recipe: Literal["noise-consistency"] = RECIPE
    generator: str | None = Field(
        default=None,
        min_length=1,
        description="One-step LoRA of the bundle without control; null: the UNet itself makes pictures in one step.",
    )
    name: str | None = Field(default=None, min_length=1, description="Name of the adapter; null: one-step.")
    rank: int = Field(default=16, gt=0, description="LoRA rank of the trained part.")
    levels: int = Field(
        default=8, gt=0, description="Steps from the noise whose picture has given the maps to noise that is foreign."
    )
    boundary: float = Field(
        default=1.0, ge=0, description="Weight of the distance to that picture where the noise is its own."
    )
    judges: Place = Field(default=EMBEDDED, min_length=1, description="Judges: 'embedded', or a folder or URL.")
    judge: JudgeName = Field(default="unet", description="The judge that reads the maps off the pictures.")

    @property
    def part(self) -> str:
        """Name of the adapter in the bundle."""
        return self.name or "one-step"


class PrunedUnetSpec(ControlledSpec):
    """Distils a UNet with fewer layers, which replaces that of the bundle."""

    recipe: Literal["pruned-unet"] = RECIPE
    teacher: Place = Field(
        default="miniature",
        min_length=1,
        description="Bundle whose UNet is pruned ('miniature': the embedded one); its other parts are those of bundle.",
    )
    layers: int = Field(default=1, ge=1, description="ResNet layers per block that stay.")
    middle: bool = Field(default=False, description="Keep the middle block.")
    attention: tuple[int, ...] | None = Field(
        default=None, description="Levels that keep their attention, 0 the outermost; null: all that have some."
    )
    features: float = Field(
        default=1.0, ge=0, description="Weight of the distance between outputs of blocks, relative to their energy."
    )

    @model_validator(mode="after")
    def _teacher_is_another(self) -> Self:
        if self.teacher == self.bundle:
            raise wrong_value("teacher", self.teacher, "another bundle than the one whose UNet is replaced")
        return self
