"""TrainSpec: everything that decides a training run, in one YAML file, with the keys that its recipe reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, TypeAdapter, field_validator, model_validator
from pydantic import ValidationError as SchemaError
from pydantic_core import InitErrorDetails, PydanticCustomError

from dentgen.errors import SpecError
from dentgen.spec.yaml_file import read_values, validate_document

#: What a control image shows: one condition, or segmentation colours over lighting. ``blended-teeth`` has light on
#: teeth only, as maps rendered from tooth scans do.
ControlKind = Literal["segmentation", "lighting", "normal", "curvature", "depth", "blended", "blended-teeth"]
CONTROL_KINDS: Final[tuple[ControlKind, ...]] = get_args(ControlKind)
SINGLE_KINDS: Final[tuple[ControlKind, ...]] = ("segmentation", "lighting", "normal", "curvature")

#: Timesteps of Stable Diffusion's noise schedule.
TRAIN_STEPS: Final = 1000

_RECIPE: Final[Any] = Field(description="What is trained; a spec has the keys that its recipe reads.")

_Start = Annotated[
    str | None,
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
_Adversarial = Annotated[float, Field(ge=0, description="Weight of the adversarial loss of a patch critic; 0: none.")]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SourceSpec(_Section):
    """Where condition records come from."""

    path: str = Field(
        default="conditions/",
        min_length=1,
        description="Condition records with a photo member: shards, Parquet or a folder; local path or any fsspec URL.",
    )
    split: str | None = Field(default="train", min_length=1, description="Split to train on; null takes all records.")


class ImageSpec(_Section):
    """How a record becomes a training image."""

    size: int = Field(default=128, gt=0, description="Edge of the image, pixels.")


class ConditionsSpec(ImageSpec):
    """How a record becomes a training image and its control image."""

    alpha: float = Field(default=0.3, ge=0, le=1, description="Share of segmentation colours over lighting.")


class PixelWeights(_Section):
    """Loss weights of pixels by segmentation class; all ones is the plain loss."""

    background: float = Field(default=1.0, ge=0, description="Weight of background and ignored pixels.")
    gingiva: float = Field(default=1.0, ge=0, description="Weight of gingiva pixels.")
    tooth: float = Field(default=1.0, ge=0, description="Weight of tooth pixels; 5 works well, 2 is weak, 8 rings.")
    boundary: float = Field(default=0.0, ge=0, description="Weight added in the band around tooth boundaries.")
    boundary_pixels: int = Field(default=2, gt=0, description="Half width of that band, image pixels.")
    normalise: Literal["none", "sample", "batch"] = Field(
        default="sample", description="Scale weights to mean 1 over each sample, over the batch, or not at all."
    )
    floor: float = Field(default=0.0, ge=0, description="Lower bound of the weights.")

    @property
    def is_plain(self) -> bool:
        """Whether every pixel weighs 1."""
        return self.background == self.gingiva == self.tooth == 1 and not self.boundary


class LossSpec(PixelWeights):
    """Weights of the diffusion loss, over latent pixels and timesteps."""

    reduce: Literal["area", "bilinear"] = Field(
        default="area", description="How pixel weights are resized to the latents."
    )
    snr_floor: float = Field(
        default=0.0,
        ge=0,
        le=5,
        description="Lower bound of min-SNR's weight of the image error, which matters at high noise.",
    )


class CommonSpec(_Section):
    """What every recipe reads."""

    recipe: str = _RECIPE
    source: SourceSpec = Field(default=SourceSpec(), description="Where condition records come from.")
    conditions: ImageSpec = Field(default=ImageSpec(), description="How records become images.")
    bundle: str = Field(min_length=1, description="Bundle folder that is read and that the trained part is written to.")
    checkpoints: str = Field(
        min_length=1, description="Folder or fsspec URL for checkpoint, losses and previews; a run resumes from it."
    )
    stream: bool = Field(default=False, description="Read records from the shards as needed, not into memory.")

    steps: int = Field(default=1000, gt=0, description="Optimiser steps.")
    batch: int = Field(default=16, gt=0, description="Rows per step over all workers.")
    accumulate: int = Field(default=1, gt=0, description="Gradient accumulation: parts of a worker's rows per step.")
    workers: int | None = Field(default=None, gt=0, description="Ray Train workers; null trains in this process.")
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="auto: a GPU if there is one.")
    dtype: Literal["float32", "float16", "bfloat16"] = Field(
        default="float32", description="Autocast precision; weights stay float32."
    )
    threads: int | None = Field(default=None, gt=0, description="CPU threads per worker; null: torch's default.")

    learning_rate: float = Field(default=4e-4, gt=0, description="Peak learning rate of AdamW; cosine decay to 0.")
    warmup: int = Field(default=100, ge=0, description="Steps of linear warmup.")
    weight_decay: float = Field(default=0.01, ge=0, description="AdamW weight decay.")
    clip: float = Field(default=1.0, gt=0, description="Maximum gradient norm.")
    ema: float = Field(default=0.999, ge=0, lt=1, description="Decay of the averaged weights, which are exported.")
    seed: int = Field(default=0, description="Names all randomness: fresh weights, row order, timesteps, noise.")

    checkpoint_seconds: float = Field(default=300.0, ge=0, description="Minimum time between checkpoints.")
    log_steps: int = Field(default=50, gt=0, description="Steps per line of losses (their means).")
    validate_steps: int | None = Field(
        default=None, gt=0, description="Steps between validation losses and previews; null: no validation."
    )
    validate_split: str | None = Field(
        default="validation", min_length=1, description="Split to validate on; null takes all records."
    )
    validate_records: int = Field(default=8, gt=0, description="Number of records to validate on.")
    tensorboard: str | None = Field(
        default=None, min_length=1, description="Folder for TensorBoard events; null: none."
    )

    @property
    def control_kinds(self) -> tuple[ControlKind, ...]:
        """Control images that the rows of this run need."""
        return ()

    @field_validator("bundle")
    @classmethod
    def _is_folder(cls, bundle: str) -> str:
        if "://" in bundle:
            raise ValueError("expected a folder that all workers share, not a URL")
        return bundle

    @model_validator(mode="after")
    def _check_parts(self) -> Self:
        parts = (self.workers or 1) * self.accumulate
        if self.batch % parts:
            raise _wrong("batch", self.batch, f"a multiple of workers x accumulate = {parts}")
        loss = getattr(self, "loss", None)
        if isinstance(loss, PixelWeights) and loss.normalise == "batch" and self.accumulate > 1:
            raise _wrong("loss.normalise", "batch", "sample or none if accumulate is above 1")
        return self


class AutoencoderSpec(CommonSpec):
    """Trains the autoencoder, on images and control images."""

    recipe: Literal["autoencoder"] = _RECIPE
    conditions: ConditionsSpec = Field(default=ConditionsSpec(), description="How records become images.")
    start: _Start = None
    align: str | None = Field(
        default=None,
        min_length=1,
        description="Bundle whose latents the encoder stays close to, so that networks trained on them remain usable; "
        "null: none.",
    )
    channels_last: _ChannelsLast = False
    loss: PixelWeights = Field(
        default=PixelWeights(), description="Weights of an extra L1 loss; all ones leaves it out."
    )
    detail: bool = Field(default=True, description="Add the L1 loss at tissue boundaries.")

    @property
    def control_kinds(self) -> tuple[ControlKind, ...]:
        """All that an encoder will be used on."""
        return (*SINGLE_KINDS, "blended", "blended-teeth")


class LatentSpec(CommonSpec):
    """Recipes that see images as latents of the bundle's frozen autoencoder."""

    cache_latents: bool = Field(default=True, description="Encode every image once and keep its latents in memory.")


class DiffusionSpec(LatentSpec):
    """Recipes that predict noise."""

    loss: LossSpec = Field(default=LossSpec(), description="Weights of the noise loss.")


class TextToImageSpec(DiffusionSpec):
    """Trains text encoder and UNet."""

    recipe: Literal["text-to-image"] = _RECIPE
    start: _Start = None


class BaseSpec(DiffusionSpec):
    """Trains text encoder, UNet and control base together, for models trained from scratch."""

    recipe: Literal["base"] = _RECIPE
    conditions: ConditionsSpec = Field(default=ConditionsSpec(), description="How records become images.")
    start: _Start = None
    tasks: _Tasks = SINGLE_KINDS

    @property
    def control_kinds(self) -> tuple[ControlKind, ...]:
        """The tasks."""
        return self.tasks


class ControlBaseSpec(DiffusionSpec):
    """Trains a ctrLoRA control base and one adapter per task on a frozen model."""

    recipe: Literal["control-base"] = _RECIPE
    conditions: ConditionsSpec = Field(default=ConditionsSpec(), description="How records become images.")
    start: _Start = None
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

    conditions: ConditionsSpec = Field(default=ConditionsSpec(), description="How records become images.")
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

    recipe: Literal["adapter"] = _RECIPE
    bare_teeth: float = Field(
        default=0.2, ge=0, le=1, description="Share of blended rows that show light on teeth only, as tooth scans do."
    )
    rank: _Rank = 16

    @property
    def control_kinds(self) -> tuple[ControlKind, ...]:
        """The control image, and its variant with light on teeth only."""
        return ("blended", "blended-teeth") if self.control_image == "blended" else (self.control_image,)


class ControlNetSpec(ControlSpec):
    """Trains a full ControlNet on a frozen model."""

    recipe: Literal["controlnet"] = _RECIPE


class ControlLoraSpec(ControlSpec):
    """Trains a ControlNet that is tied to the frozen UNet by a LoRA."""

    recipe: Literal["control-lora"] = _RECIPE
    rank: _Rank = 16


class LcmLoraSpec(LatentSpec):
    """Distils a LoRA for few-step sampling with an adapter attached."""

    recipe: Literal["lcm-lora"] = _RECIPE
    conditions: ConditionsSpec = Field(default=ConditionsSpec(), description="How records become images.")
    control_image: ControlKind = Field(default="blended", description="Control image that the adapter is shown.")
    adapter: str = Field(
        default="blended", min_length=1, description="Adapter that teacher, student and target generate with."
    )
    rank: _Rank = 16
    name: str | None = Field(default=None, min_length=1, description="Name of the LoRA in the bundle; null: lcm.")
    guidance: tuple[float, float] = Field(
        default=(5.0, 15.0), description="Range of the teacher's guidance scale, lower end first."
    )
    ladder: int = Field(default=50, gt=0, le=TRAIN_STEPS, description="Timesteps of the teacher's DDIM solver.")

    @property
    def part(self) -> str:
        """Name of the LoRA in the bundle."""
        return self.name or "lcm"

    @property
    def control_kinds(self) -> tuple[ControlKind, ...]:
        """The control image."""
        return (self.control_image,)

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

    @model_validator(mode="after")
    def _check_adapter(self) -> Self:
        _check_shown(self.adapter, self.control_image)
        return self


class TinyDecoderSpec(LatentSpec):
    """Trains a tiny decoder, distilled from the KL decoder or on photographs."""

    recipe: Literal["decoder"] = _RECIPE
    decoder: Literal["tiny"] = Field(default="tiny", description="Which decoder is trained.")
    conditions: ConditionsSpec = Field(default=ConditionsSpec(), description="How records become images.")
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
            raise _wrong("adapter", None, "the adapter to generate latents with, because generated is above 0")
        if self.generated and not self.distil:
            raise _wrong("generated", self.generated, "0 if distil is false: no photograph shows generated latents")
        _check_shown(self.adapter, self.control_image)
        return self


class KlDecoderSpec(LatentSpec):
    """Continues training the bundle's KL decoder on photographs; the encoder stays as it is."""

    recipe: Literal["decoder"] = _RECIPE
    decoder: Literal["kl"] = Field(description="Which decoder is trained.")
    channels_last: _ChannelsLast = False
    detail: bool = Field(default=True, description="Add losses of differences and tissue boundaries.")
    adversarial: _Adversarial = 0.0


def _decoder_kind(values: Any) -> Any:
    """The kind of decoder; ``tiny`` by default."""
    return values.get("decoder", "tiny") if isinstance(values, Mapping) else getattr(values, "decoder", None)


DecoderSpec = Annotated[
    Annotated[TinyDecoderSpec, Tag("tiny")] | Annotated[KlDecoderSpec, Tag("kl")], Discriminator(_decoder_kind)
]
#: One training run.
TrainSpec = Annotated[
    AutoencoderSpec
    | TextToImageSpec
    | BaseSpec
    | ControlBaseSpec
    | AdapterSpec
    | ControlNetSpec
    | ControlLoraSpec
    | LcmLoraSpec
    | DecoderSpec,
    Field(discriminator="recipe"),
]
#: Validates plain values and exports the JSON Schema.
TRAIN_SPEC: Final[TypeAdapter[TrainSpec]] = TypeAdapter(TrainSpec)

_DECODERS: Final[Mapping[str, type[TrainSpec]]] = {"tiny": TinyDecoderSpec, "kl": KlDecoderSpec}
_RECIPES: Final[Mapping[str, type[TrainSpec]]] = {
    "autoencoder": AutoencoderSpec,
    "text-to-image": TextToImageSpec,
    "base": BaseSpec,
    "control-base": ControlBaseSpec,
    "adapter": AdapterSpec,
    "controlnet": ControlNetSpec,
    "control-lora": ControlLoraSpec,
    "lcm-lora": LcmLoraSpec,
    "decoder": TinyDecoderSpec,
}
RECIPES: Final = tuple(_RECIPES)


def read_train_spec(path: str | Path, overrides: Sequence[str] = ()) -> TrainSpec:
    """Read a training spec.

    Args:
        path: YAML file.
        overrides: ``a.b=value`` texts that replace single keys; values are YAML.

    Raises:
        SpecError: If the file or an override is wrong; ``faults`` names every wrong key.
    """
    values = read_values(path, overrides)
    kind = _chosen(_RECIPES, "recipe", values.get("recipe"), path)
    if "decoder" in values and values["recipe"] == "decoder":
        kind = _chosen(_DECODERS, "decoder", values["decoder"], path)
    return validate_document(kind, values, path, overrides)


def _chosen(kinds: Mapping[str, type[TrainSpec]], key: str, value: Any, file: str | Path) -> type[TrainSpec]:
    """The class that a discriminating key names."""
    if not isinstance(value, str) or value not in kinds:
        found = "none" if value is None else repr(value)[:100]
        raise SpecError(file=str(file), key=key, found=found, expected=f"one of {', '.join(kinds)}")
    return kinds[value]


def _check_shown(adapter: str | None, control_image: ControlKind) -> None:
    """An adapter named after a control image was trained on that one."""
    if adapter in CONTROL_KINDS and control_image != adapter:
        raise _wrong("control_image", control_image, f"{adapter}, as adapter {adapter} was trained on")


def _wrong(key: str, found: Any, expected: str) -> SchemaError:
    """A validation error of one key, for checks that look at several."""
    fault = PydanticCustomError("wrong_value", "expected {expected}", {"expected": expected})
    place = InitErrorDetails(type=fault, loc=tuple(key.split(".")), input=found)
    return SchemaError.from_exception_data("TrainSpec", [place])
