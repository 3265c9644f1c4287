"""One training spec per recipe, with exactly the keys that the recipe reads."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from dentgen.spec.section import Place
from dentgen.spec.train_sections import (
    CONTROL_KINDS,
    RECIPE,
    SINGLE_KINDS,
    CommonSpec,
    ConditionsSpec,
    ControlKind,
    LossSpec,
    PixelWeights,
    wrong_value,
)

_Conditions = Annotated[ConditionsSpec, Field(description="How records become images and control images.")]
_Start = Annotated[
    Place | None,
    Field(
        min_length=1,
        description="Bundle to start from ('miniature': the embedded one); null starts from fresh weights.",
    ),
]
_ChannelsLast = Annotated[bool, Field(description="Keep weights in channels_last memory format.")]
_Rank = Annotated[int, Field(gt=0, description="LoRA rank of the trained part.")]
_Name = Annotated[
    str | None, Field(min_length=1, description="Name of the trained part in the bundle; null: that of control_image.")
]
_ControlImage = Annotated[ControlKind, Field(description="Control image that the trained part is shown.")]
_Tasks = Annotated[
    tuple[ControlKind, ...],
    Field(min_length=1, description="Control images that the control base is trained on; repeats count."),
]
BareTeeth = Annotated[
    float, Field(ge=0, le=1, description="Share of blended rows that show light on teeth only, as tooth scans do.")
]
_Adversarial = Annotated[float, Field(ge=0, description="Weight of the adversarial loss of a patch critic; 0: none.")]


class AutoencoderSpec(CommonSpec):
    """Trains the autoencoder, on images and control images."""

    recipe: Literal["autoencoder"] = RECIPE
    conditions: _Conditions = ConditionsSpec()
    start: _Start = None
    align: Place | None = Field(
        default=None,
        min_length=1,
        description="Bundle whose latents the encoder stays close to, so that networks trained on them remain usable; "
        "null: none.",
    )
    tasks: Annotated[
        tuple[ControlKind, ...],
        Field(min_length=1, description="Control images that it is shown beside the images; repeats count."),
    ] = (*SINGLE_KINDS, "blended", "blended-teeth")
    channels_last: _ChannelsLast = False
    loss: PixelWeights = Field(
        default=PixelWeights(),
        description="Weights of an extra L1 loss, which is left out where every pixel weighs 1, and of colour.",
    )
    detail: bool = Field(default=True, description="Add the L1 loss at tissue boundaries.")
    crop: int | None = Field(
        default=None, gt=0, multiple_of=8,
        description="Edge of the square that is cut from every image at random, pixels; null: whole images.",
    )  # fmt: skip
    colour: float = Field(
        default=0.0, ge=0,
        description="Weight of the L1 loss of colour differences, averaged over 4 x 4 pixels and weighted by loss; "
        "0: none.",
    )  # fmt: skip
    perceptual: float = Field(
        default=0.0, ge=0,
        description="Weight of the distance between features of an ImageNet encoder (extra 'photos'); 0: none.",
    )  # fmt: skip

    @model_validator(mode="after")
    def _crop_fits(self) -> Self:
        if self.crop is not None and self.crop > self.conditions.size:
            raise wrong_value("crop", self.crop, f"at most conditions.size = {self.conditions.size}")
        return self

    @property
    def control_kinds(self) -> tuple[ControlKind, ...]:
        """Those of ``tasks``."""
        return self.tasks


class JudgeSpec(CommonSpec):
    """Trains a judge: a segmenter of background, gingiva and tooth."""

    recipe: Literal["judge"] = RECIPE
    network: Literal["unet", "dilated"] = Field(default="unet", description="Its architecture, and its name.")
    photometric: bool = Field(
        default=True, description="Change light, focus and noise of the images at random, as generated ones differ."
    )


class LatentSpec(CommonSpec):
    """Recipes that see images as latents of the bundle's frozen autoencoder."""

    cache_latents: bool = Field(default=True, description="Encode every image once and keep its latents in memory.")


class DiffusionSpec(LatentSpec):
    """Recipes that predict noise."""

    loss: LossSpec = Field(default=LossSpec(), description="Weights of the noise loss.")


class TextToImageSpec(DiffusionSpec):
    """Trains text encoder and UNet; ``start`` may have been trained at another image size."""

    recipe: Literal["text-to-image"] = RECIPE
    start: _Start = None


class BaseSpec(DiffusionSpec):
    """Trains text encoder, UNet and control base together, for models trained from scratch.

    ``start`` may have been trained at another image size.
    """

    recipe: Literal["base"] = RECIPE
    conditions: _Conditions = ConditionsSpec()
    start: _Start = None
    tasks: _Tasks = SINGLE_KINDS

    @property
    def control_kinds(self) -> tuple[ControlKind, ...]:
        """The tasks."""
        return self.tasks


class ControlBaseSpec(DiffusionSpec):
    """Trains a ctrLoRA control base and one adapter per task on a frozen model."""

    recipe: Literal["control-base"] = RECIPE
    conditions: _Conditions = ConditionsSpec()
    start: Place | None = Field(
        default=None,
        min_length=1,
        description="Bundle whose control base to start from; null copies the UNet's encoder.",
    )
    tasks: tuple[ControlKind, ...] = Field(
        default=SINGLE_KINDS, min_length=1, description="Control images that the base is trained on, one per batch."
    )
    rank: _Rank = 16

    @property
    def control_kinds(self) -> tuple[ControlKind, ...]:
        """The tasks."""
        return self.tasks

    @field_validator("tasks")
    @classmethod
    def _are_unique(cls, tasks: tuple[ControlKind, ...]) -> tuple[ControlKind, ...]:
        if len(set(tasks)) < len(tasks):
            raise ValueError("expected each task once, because each has one LoRA")
        return tasks


class ControlSpec(DiffusionSpec):
    """Recipes that train one named part for one control image."""

    conditions: _Conditions = ConditionsSpec()
    control_image: _ControlImage = "blended"
    name: _Name = None

    @property
    def part(self) -> str:
        """Name of the trained part in the bundle."""
        return self.name or self.control_image

    @property
    def control_kinds(self) -> tuple[ControlKind, ...]:
        """The control image."""
        return (self.control_image,)


class AdapterSpec(ControlSpec):
    """Trains a ctrLoRA adapter on a frozen model and control base."""

    recipe: Literal["adapter"] = RECIPE
    bare_teeth: BareTeeth = 0.2
    rank: _Rank = 16

    @property
    def control_kinds(self) -> tuple[ControlKind, ...]:
        """The control image, and its variant with light on teeth only."""
        return ("blended", "blended-teeth") if self.control_image == "blended" else (self.control_image,)


class ControlNetSpec(ControlSpec):
    """Trains a full ControlNet on a frozen model."""

    recipe: Literal["controlnet"] = RECIPE


class ControlLoraSpec(ControlSpec):
    """Trains a ControlNet that is tied to the frozen UNet by a LoRA."""

    recipe: Literal["control-lora"] = RECIPE
    rank: _Rank = 16


class TwoFrameSpec(DiffusionSpec):
    """Trains a LoRA that draws a mouth under another light beside a reference picture of it."""

    recipe: Literal["two-frame"] = RECIPE
    conditions: _Conditions = ConditionsSpec()
    pairs: Place = Field(
        default="pairs.parquet",
        min_length=1,
        description="Table of pairs of the records of source.path, as 'dentgen pairs' writes it.",
    )
    control_image: ControlKind = Field(default="blended", description="Control image that the adapter is shown.")
    adapter: str = Field(default="blended", min_length=1, description="Adapter that the LoRA generates with.")
    adapter_scale: float = Field(default=1.0, gt=0, description="Scale of the adapter's residuals.")
    rank: _Rank = 16
    name: str | None = Field(default=None, min_length=1, description="Name of the LoRA in the bundle; null: two-frame.")
    reference_weight: float = Field(
        default=0.5, ge=0, description="Weight of the left frame's loss, which reconstructs the reference."
    )
    edit_weight: float = Field(default=1.0, gt=0, description="Weight of the right frame's loss, the edit.")

    @property
    def part(self) -> str:
        """Name of the LoRA in the bundle."""
        return self.name or "two-frame"

    @property
    def control_kinds(self) -> tuple[ControlKind, ...]:
        """The control image."""
        return (self.control_image,)

    @model_validator(mode="after")
    def _check_adapter(self) -> Self:
        check_shown(self.adapter, self.control_image)
        return self


class TinyDecoderSpec(LatentSpec):
    """Trains a tiny decoder, distilled from the KL decoder or on photographs."""

    recipe: Literal["decoder"] = RECIPE
    decoder: Literal["tiny"] = Field(default="tiny", description="Which decoder is trained.")
    conditions: _Conditions = ConditionsSpec()
    start: _Start = None
    channels_last: _ChannelsLast = False
    decoder_width: int = Field(default=16, gt=0, description="Channels of a fresh decoder.")
    decoder_blocks: tuple[int, ...] = Field(
        default=(1, 1, 1, 1), description="Blocks per level of a fresh decoder, from latents to pixels."
    )
    distil: bool = Field(default=True, description="Learn the KL decoder's images instead of the photographs.")
    detail: bool = Field(default=True, description="Add losses of differences, tissue boundaries and texture.")
    adversarial: _Adversarial = 0.0
    generated: float = Field(
        default=0.0, ge=0, le=1, description="Share of records whose latents the bundle generates with the adapter."
    )
    adapter: str | None = Field(
        default=None, min_length=1, description="Adapter that latents are generated with; null: none are generated."
    )
    adapter_scale: float = Field(default=1.0, gt=0, description="Scale of the adapter's residuals.")
    control_image: ControlKind = Field(default="blended", description="Control image that the adapter is shown.")

    @property
    def control_kinds(self) -> tuple[ControlKind, ...]:
        """The control image, if latents are generated."""
        return (self.control_image,) if self.generated else ()

    @model_validator(mode="after")
    def _check_generated(self) -> Self:
        if self.generated and self.adapter is None:
            raise wrong_value("adapter", None, "the adapter to generate latents with, because generated is above 0")
        if self.generated and not self.distil:
            raise wrong_value("generated", self.generated, "0 if distil is false, because no photograph shows them")
        check_shown(self.adapter, self.control_image)
        return self


class KlDecoderSpec(LatentSpec):
    """Continues training the bundle's KL decoder on photographs; the encoder stays as it is."""

    recipe: Literal["decoder"] = RECIPE
    decoder: Literal["kl"] = Field(description="Which decoder is trained.")
    channels_last: _ChannelsLast = False
    detail: bool = Field(default=True, description="Add losses of differences and tissue boundaries.")
    adversarial: _Adversarial = 0.0


def check_shown(adapter: str | None, control_image: ControlKind) -> None:
    """Check that an adapter named after a control image is shown that one, which it was trained on.

    Raises:
        ValidationError: If it is not; its key is ``control_image``.
    """
    if adapter in CONTROL_KINDS and control_image != adapter:
        raise wrong_value("control_image", control_image, f"{adapter}, as adapter {adapter} was trained on")
