"""Spec of the recipe ``reward``: an adapter that is fine-tuned on what a frozen judge sees in its pictures."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from dentgen.spec.quality import EMBEDDED
from dentgen.spec.section import Place
from dentgen.spec.train_recipes import BareTeeth, ControlSpec, check_shown
from dentgen.spec.train_sections import RECIPE, TRAIN_STEPS, ControlKind, wrong_value

JudgeName = Literal["unet", "dilated"]


class RewardSpec(ControlSpec):
    """Continues training an adapter, rewarded for pictures in which a frozen judge sees what the maps say."""

    recipe: Literal["reward"] = RECIPE
    adapter: str = Field(default="blended", min_length=1, description="Adapter of the bundle to start from.")
    name: str | None = Field(
        default=None, min_length=1, description="Name of the result in the bundle; null: that of the start and -reward."
    )
    bare_teeth: BareTeeth = 0.2
    weight: float = Field(
        default=0.1, ge=0,
        description="Weight of the judge's cross-entropy to the labels; 0 with lighting_weight 0: plain fine-tuning.",
    )  # fmt: skip
    lighting_weight: float = Field(
        default=0.0, ge=0, description="Weight of 1 - correlation of luminance and lighting map within teeth."
    )
    reward_timesteps: tuple[int, int] = Field(
        default=(0, 200), description="Timesteps whose rows are rewarded, both ends included."
    )
    reward_share: float | None = Field(
        default=None, gt=0, lt=1,
        description="Share of a step's rows with such timesteps; the noise loss is weighted to stay unbiased. null: "
        "timesteps as in recipe adapter.",
    )  # fmt: skip
    reward_decoder: Literal["kl", "tiny"] = Field(default="kl", description="Decoder of the pictures that are judged.")
    judges: Place = Field(
        default=EMBEDDED, min_length=1,
        description="Judges: 'embedded', or a folder or URL that 'dentgen train' with recipe: judge wrote.",
    )  # fmt: skip
    judge: JudgeName = Field(default="unet", description="The judge whose view is rewarded.")
    watch: JudgeName | None = Field(
        default="dilated",
        description="A judge that is only logged: if it does not follow, the reward is hacked. null: none.",
    )
    uncertainty: bool = Field(
        default=False, description="Judge two pictures of a row and trust the reward less where the judge contradicts "
        "itself.",
    )  # fmt: skip

    @property
    def draws(self) -> str:
        """Those of recipe ``adapter``, so that both differ in the reward alone."""
        return "adapter"

    @property
    def part(self) -> str:
        """Name of the result in the bundle."""
        return self.name or f"{self.adapter}-reward"

    @property
    def is_rewarded(self) -> bool:
        """Whether the reward has any weight."""
        return self.weight > 0 or self.lighting_weight > 0

    @property
    def rewarded_rows(self) -> int | None:
        """Rewarded rows of every step; None: as timesteps fall."""
        return None if self.reward_share is None else round(self.reward_share * self.batch)

    @property
    def control_kinds(self) -> tuple[ControlKind, ...]:
        """The control image, its variant with light on teeth only, and the lighting that pictures are compared with."""
        shown: tuple[ControlKind, ...] = (self.control_image,)
        if self.control_image == "blended":
            shown = ("blended", "blended-teeth")
        return (*shown, "lighting") if self.lighting_weight else shown

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        check_shown(self.adapter, self.control_image)
        if self.part == self.adapter:
            raise wrong_value("name", self.name, f"another name than that of the start, {self.adapter}")
        if self.watch == self.judge:
            raise wrong_value("watch", self.watch, "another judge than the rewarded one, or null")
        return self

    @model_validator(mode="after")
    def _check_timesteps(self) -> Self:
        low, high = self.reward_timesteps
        if not 0 <= low <= high < TRAIN_STEPS:
            expected = f"two timesteps of 0..{TRAIN_STEPS - 1}, the lower one first"
            raise wrong_value("reward_timesteps", self.reward_timesteps, expected)
        if self.rewarded_rows is None:
            return self
        if high - low + 1 == TRAIN_STEPS:
            raise wrong_value("reward_share", self.reward_share, "null, because every row is rewarded")
        if not 0 < self.rewarded_rows < self.batch:
            expected = f"a share of 1 to {self.batch - 1} of batch = {self.batch} rows, so that others remain"
            raise wrong_value("reward_share", self.reward_share, expected)
        return self
