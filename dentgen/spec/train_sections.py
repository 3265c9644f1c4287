"""What every training spec has: source, images, loss weights, optimisation, logging."""

from __future__ import annotations

from typing import Any, Final, Literal, Self, get_args

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from dentgen import storage
from dentgen.spec.section import Place, Section

#: What a control image shows: one condition, or segmentation colours over lighting. ``blended-teeth`` has light on
#: teeth only, as maps rendered from tooth scans do; ``findings`` is ``blended`` with lesions painted on the teeth.
ControlKind = Literal[
    "segmentation", "lighting", "normal", "curvature", "depth", "blended", "blended-teeth", "findings"
]
CONTROL_KINDS: Final[tuple[ControlKind, ...]] = get_args(ControlKind)
SINGLE_KINDS: Final[tuple[ControlKind, ...]] = ("segmentation", "lighting", "normal", "curvature")

#: Timesteps of Stable Diffusion's noise schedule.
TRAIN_STEPS: Final = 1000

RECIPE: Final[Any] = Field(description="What is trained; a spec has the keys that its recipe reads.")


class SourceSpec(Section):
    """Where condition records come from."""

    path: Place = Field(
        default="conditions/",
        min_length=1,
        description="Condition records with a photo member: shards, Parquet or a folder; local path or any fsspec URL.",
    )
    split: str | None = Field(default="train", min_length=1, description="Split to train on; null takes all records.")


class ImageSpec(Section):
    """How a record becomes a training image."""

    size: int = Field(default=256, gt=0, description="Edge of the image, pixels.")


class ConditionsSpec(ImageSpec):
    """How a record becomes a training image and its control image."""

    alpha: float = Field(default=0.3, ge=0, le=1, description="Weight of segmentation colours over lighting.")


class PixelWeights(Section):
    """Loss weights of pixels by segmentation class, boundary and finding; 1, 1, 1, 0, 0 is the plain loss."""

    background: float = Field(default=1.0, ge=0, description="Weight of background and ignored pixels.")
    gingiva: float = Field(default=1.0, ge=0, description="Weight of gingiva pixels.")
    tooth: float = Field(default=1.0, ge=0, description="Weight of tooth pixels; 5 works well, 2 is weak, 8 rings.")
    boundary: float = Field(default=0.0, ge=0, description="Weight added in the band around tooth boundaries.")
    boundary_pixels: int = Field(default=2, gt=0, description="Half width of that band, image pixels.")
    finding: float = Field(default=0.0, ge=0, description="Weight added where a record's findings map has something.")
    normalise: Literal["none", "sample", "batch"] = Field(
        default="sample", description="Scale weights to mean 1 over each sample, over the batch, or not at all."
    )
    floor: float = Field(default=0.0, ge=0, description="Lower bound of the weights.")

    @property
    def is_plain(self) -> bool:
        """Whether every pixel weighs 1."""
        return self.background == self.gingiva == self.tooth == 1 and not self.boundary and not self.finding


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


class CommonSpec(Section):
    """What every recipe reads."""

    recipe: str = RECIPE
    source: SourceSpec = Field(default=SourceSpec(), description="Where condition records come from.")
    conditions: ImageSpec = Field(default=ImageSpec(), description="How records become images.")
    bundle: Place = Field(
        min_length=1, description="Bundle folder that is read and that the trained part is written to."
    )
    checkpoints: Place = Field(
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
    tensorboard: Place | None = Field(
        default=None, min_length=1, description="Folder for TensorBoard events; null: none."
    )

    @property
    def control_kinds(self) -> tuple[ControlKind, ...]:
        """Control images that the rows of this run need."""
        return ()

    @property
    def draws(self) -> str:
        """Name of the recipe's random draws; recipes of the same name and seed draw the same."""
        return self.recipe

    @field_validator("bundle")
    @classmethod
    def _is_folder(cls, bundle: str) -> str:
        if storage.is_remote(bundle):
            raise ValueError("expected a folder that all workers share, not a URL")
        return bundle

    @model_validator(mode="after")
    def _check_parts(self) -> Self:
        parts = (self.workers or 1) * self.accumulate
        if self.batch % parts:
            raise wrong_value("batch", self.batch, f"a multiple of workers x accumulate = {parts}")
        loss = getattr(self, "loss", None)
        if isinstance(loss, PixelWeights) and loss.normalise == "batch" and self.accumulate > 1:
            raise wrong_value("loss.normalise", "batch", "sample or none if accumulate is above 1")
        return self


def wrong_value(key: str, found: Any, expected: str) -> ValidationError:
    """A validation error of one key, for checks that look at several."""
    fault = PydanticCustomError("wrong_value", "expected {expected}", {"expected": expected})
    place = InitErrorDetails(type=fault, loc=tuple(key.split(".")), input=found)
    return ValidationError.from_exception_data("TrainSpec", [place])
