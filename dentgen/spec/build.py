"""BuildSpec: everything that decides a dataset, in one YAML file.

Unknown keys are errors, every key has a default and a description, and the digest covers what decides bytes and nothing
else. Refuses to know how any of it is done.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, field_validator, model_validator

from dentgen.documents import as_word
from dentgen.records import ATTRIBUTES, COMPOSITE_MEDIA, TRAINED_ALGORITHMIC_MEDIA, ConditionName

SchedulerName = Literal[
    "unipc", "lcm", "ddim", "ddpm", "dpmpp_2m", "dpmpp_2m_karras", "euler", "euler_ancestral", "pndm", "heun"
]
ClassName = Literal["background", "gingiva", "tooth", "other soft tissue", "restoration", "appliance"]


#: A record that is wanted so much more often is better rendered again.
MOST_TIMES: Final = 100


#: YAML reads yes, no and numbers as such.
_Value = Annotated[str, BeforeValidator(as_word)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SourceSpec(_Section):
    """Where condition records come from."""

    path: str = Field(
        default="conditions/", min_length=1, description="Folder, shards or Parquet; local path or any fsspec URL."
    )
    format: Literal["auto", "webdataset", "parquet", "folder"] = Field(
        default="auto", description="How records are stored; auto looks at the file names."
    )
    split: str | None = Field(default=None, description="Use only records of this split; null takes all.")
    limit: int | None = Field(default=None, ge=1, description="Use only so many records, the first ones; null: all.")
    oversample: dict[str, dict[_Value, StrictInt]] = Field(
        default={},
        description="Times as many variants of records with an attribute, as {lighting: {harsh: 3}, caries: {any: 2}}; "
        "any stands for all values but 0, no and none. Of several that fit, the largest counts.",
    )
    ignore_members: tuple[str, ...] = Field(
        default=(), description="Members (as 'notes.txt') that records may have beside known ones; others are refused."
    )

    @field_validator("oversample")
    @classmethod
    def _known_attributes(cls, oversample: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
        unknown = sorted(oversample.keys() - set(ATTRIBUTES))
        if unknown:
            raise ValueError(f"found attributes {unknown}, expected some of {list(ATTRIBUTES)}")
        times = [(f"{name}.{value}", n) for name, values in oversample.items() for value, n in values.items()]
        wrong = [f"{place}: {n}" for place, n in times if not 1 <= n <= MOST_TIMES]
        if wrong:
            raise ValueError(f"found {', '.join(wrong)}, expected whole numbers from 1 to {MOST_TIMES}")
        return oversample

    def repeats(self, attributes: Mapping[str, str]) -> int:
        """How many times the variants of a record with ``attributes`` are generated."""
        wanted = (
            times
            for name, values in self.oversample.items()
            for value, times in values.items()
            if _fits(value, attributes.get(name, ""))
        )
        return max(wanted, default=1)


def _fits(wanted: str, found: str) -> bool:
    return found not in {"", "0", "no", "none"} if wanted == "any" else found == wanted


class OutputSpec(_Section):
    """Where the dataset goes."""

    path: str = Field(default="out/", min_length=1, description="Folder or any fsspec URL.")
    image_format: Literal["png", "jpg", "webp"] = Field(
        default="png", description="Of the generated picture; label maps are always PNG."
    )


class ModelSpec(_Section):
    """What makes the pictures."""

    bundle: str = Field(default="miniature", description="The embedded miniature, a bundle folder or URL, or a hub id.")
    adapters: dict[str, float] = Field(
        default={"blended": 1.0},
        description="ctrLoRA adapters and the scales of their residuals; {} uses the bare base.",
    )
    controlnets: dict[str, float] = Field(
        default={},
        description="Full ControlNets of the bundle's folder controlnets/ and their residuals' scales.",
    )
    loras: dict[str, float] = Field(
        default={},
        description="LoRAs of the bundle's folder loras/, added into the UNet's and text encoder's weights, by scale.",
    )
    embeddings: tuple[str, ...] = Field(
        default=(), description="Embeddings of the bundle's folder embeddings/; prompts write NAME as <NAME>."
    )
    decoder: Literal["kl", "tiny"] = Field(
        default="kl", description="What turns latents into pictures: the autoencoder's decoder, or a distilled one."
    )
    decode_tile: int | None = Field(
        default=None, ge=64, multiple_of=8, description="Decode in tiles of this edge, pixels; null: whole pictures."
    )

    @field_validator("bundle")
    @classmethod
    def _holds_no_signature(cls, bundle: str) -> str:
        if "://" in bundle and "?" in bundle:  # it would stand in every sample's metadata
            raise ValueError("found a query in the URL, expected credentials in the environment")
        return bundle


class ConditionsSpec(_Section):
    """How a record becomes a control image."""

    use: tuple[ConditionName, ...] = Field(
        default=("segmentation", "lighting"), min_length=1, description="Conditions that control the picture."
    )
    combine: Literal["blend", "sum"] = Field(
        default="blend",
        description="blend: one control image for every adapter; sum: each condition has an adapter or ControlNet of "
        "its own name, or goes through the bare base, and their residuals are added.",
    )
    alpha: float = Field(default=0.3, ge=0, le=1, description="Share of segmentation colours over lighting.")
    size: int = Field(default=128, ge=8, le=4096, multiple_of=8, description="Edge of the picture, pixels.")
    fit: Literal["pad", "crop", "stretch"] = Field(default="pad", description="What happens to other shapes.")
    control_start: float = Field(
        default=0.0, ge=0, le=1, description="Share of the steps before which no control acts."
    )
    control_end: float = Field(default=1.0, ge=0, le=1, description="Share of the steps after which no control acts.")

    @model_validator(mode="after")
    def _blendable(self) -> ConditionsSpec:
        if len(set(self.use)) < len(self.use):
            raise ValueError(f"use: found {list(self.use)}, expected every condition once")
        if not self.control_start < self.control_end:
            raise ValueError(f"control_start {self.control_start} must be less than control_end {self.control_end}")
        if self.combine == "blend" and len(self.use) > 1 and set(self.use) != {"segmentation", "lighting"}:
            raise ValueError(f"cannot blend {list(self.use)}: use one condition, or segmentation and lighting")
        return self


class SamplingSpec(_Section):
    """How pictures are sampled."""

    scheduler: SchedulerName | dict[str, Any] = Field(
        default="unipc", description="Solver: a name, or a diffusers scheduler config with its _class_name."
    )
    scheduler_options: dict[str, Any] = Field(
        default={}, description="Changes of the scheduler's config, as solver_order: 3 or use_karras_sigmas: true."
    )
    steps: int = Field(default=4, ge=1, le=1000, description="UNet calls per picture.")
    timesteps: tuple[int, ...] | None = Field(
        default=None,
        min_length=1,
        description="Explicit training timesteps, as many as steps; null: the scheduler's own.",
    )
    start_from: Literal["noise", "photo"] = Field(
        default="noise", description="photo: image-to-image from each record's photo member."
    )
    strength: float = Field(
        default=1.0, gt=0, le=1, description="Share of the steps that a photo goes through; 1 keeps nothing of it."
    )
    repaint: tuple[ClassName, ...] = Field(
        default=(), description="Inpainting: classes of the segmentation to paint anew in the photo; the rest stays."
    )
    guidance_scale: float = Field(default=1.0, ge=0, description="Classifier-free guidance; 1 is none.")
    guidance: Literal["full", "self", "initialize"] = Field(
        default="full",
        description="full: a second row with the negative prompt; self, initialize: residual guidance, without one and "
        "with one at the first step only, for scales up to about 1.4.",
    )
    guidance_delta: float = Field(default=1.0, ge=0, description="Factor on residual guidance's noise.")
    variants: int = Field(default=4, ge=1, le=1000, description="Pictures per record, each with its own noise.")
    seed: int = Field(default=0, ge=-(2**63), lt=2**63, description="Names all noise together with key and variant.")
    prompt: str | None = Field(default=None, description="Prompt for every record; null uses the record's own.")
    negative_prompt: str = Field(default="", description="Prompt of the unconditional row.")
    long_prompts: Literal["error", "truncate", "chunk"] = Field(
        default="error", description="Prompts over 75 tokens: rejected, cut (recorded), or read in windows of 75."
    )
    prompt_chunks: int = Field(default=2, ge=1, le=16, description="Windows that chunk has room for.")
    prompt_to: str | None = Field(
        default=None, description="Over the variants, prompts change towards this one; the last variant has it whole."
    )
    seed_to: int | None = Field(
        default=None, ge=-(2**63), lt=2**63, description="Over the variants, noise changes towards this seed's."
    )
    interpolation: Literal["lerp", "slerp"] = Field(
        default="slerp", description="How prompt embeddings change; noise always turns on its sphere (slerp)."
    )

    @property
    def scheduler_name(self) -> str:
        """For metadata: the name, or the class of a config."""
        return self.scheduler if isinstance(self.scheduler, str) else str(self.scheduler.get("_class_name", ""))

    @property
    def interpolates(self) -> bool:
        """Whether the variants of a record, if it has several, lie between two prompts or noises."""
        return self.prompt_to is not None or self.seed_to is not None

    @property
    def synthetic(self) -> bool:
        """Whether no photograph goes into the pictures."""
        return self.start_from == "noise"

    @property
    def source_type(self) -> str:
        """IPTC term for the pictures: those that start from a photograph may keep parts of it."""
        return TRAINED_ALGORITHMIC_MEDIA if self.synthetic else COMPOSITE_MEDIA

    @property
    def first_rows(self) -> int:
        """UNet rows of a canvas at its first step, where it has most."""
        return 2 if self.guidance_scale != 1.0 and self.guidance != "self" else 1

    @model_validator(mode="after")
    def _consistent(self) -> SamplingSpec:
        if self.timesteps is not None and len(self.timesteps) != self.steps:
            raise ValueError(f"steps is {self.steps}, but timesteps names {len(self.timesteps)}")
        if self.start_from == "noise" and (self.strength != 1.0 or self.repaint):
            raise ValueError("strength and repaint need start_from: photo")
        if self.negative_prompt and self.first_rows == 1:
            raise ValueError("negative_prompt is read with guidance_scale other than 1, and guidance other than self")
        return self


class EngineSpec(_Section):
    """The stream batch. Slots and threads decide bits, so they belong to the digest."""

    slots: int = Field(default=16, ge=1, description="UNet rows per tick.")
    control_slots: int | None = Field(
        default=None, ge=1, description="Control net rows per tick; null: one per record that fits into the slots."
    )
    threads: int = Field(default=1, ge=1, description="CPU threads per process.")
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = Field(
        default="auto", description="Precision of the networks; auto: float32 on CPU, float16 on GPU."
    )
    fill: Literal["auto", "continuous", "unit"] = Field(
        default="auto",
        description="continuous: units share the engine; unit: one after the other; auto: unit on GPU.",
    )
    compile: bool = Field(default=False, description="torch.compile the UNet, control nets and decoder.")
    cuda_graph: bool = Field(default=False, description="Capture the tick as a CUDA graph; GPU only.")


class PipelineSpec(_Section):
    """How work is spread; decides no bytes except through samples_per_shard, which cuts units."""

    actors: int = Field(default=1, ge=1, description="Ray actors, each with its own models.")
    samples_per_shard: int = Field(
        default=64,
        ge=1,
        description="Most samples per output shard; a record with more variants has a shard of its own.",
    )
    stall_seconds: float = Field(
        default=30.0, ge=5, description="An actor silent for so long, or without a tick, is killed and starts again."
    )
    lease_seconds: float = Field(
        default=60.0, ge=1, description="A build's lease goes stale after this time without a renewal."
    )
    environment: Literal["refuse", "warn"] = Field(
        default="refuse",
        description="Resuming with other library versions or another device kind: refused, or with a warning.",
    )


class QualitySpec(_Section):
    """What a build tolerates."""

    gate: Literal[False] = Field(default=False, description="Not there yet; must be false.")
    max_rejected: float = Field(default=0.05, ge=0, le=1, description="Largest rejected share with exit code 0.")


class BuildSpec(_Section):
    """One dataset build."""

    source: SourceSpec = SourceSpec()
    output: OutputSpec = OutputSpec()
    model: ModelSpec = ModelSpec()
    conditions: ConditionsSpec = ConditionsSpec()
    sampling: SamplingSpec = SamplingSpec()
    engine: EngineSpec = EngineSpec()
    pipeline: PipelineSpec = PipelineSpec()
    quality: QualitySpec = QualitySpec()

    @model_validator(mode="after")
    def _fits_slots(self) -> BuildSpec:
        if self.sampling.first_rows > self.engine.slots:
            raise ValueError(
                f"engine.slots {self.engine.slots}: guidance needs {self.sampling.first_rows} rows per picture"
            )
        if self.control_slots < self.sampling.first_rows:
            raise ValueError(
                f"engine.control_slots {self.control_slots}: guidance needs {self.sampling.first_rows} per picture"
            )
        return self

    @model_validator(mode="after")
    def _controlled(self) -> BuildSpec:
        named = {*self.model.adapters, *self.model.controlnets}
        if both := set(self.model.adapters) & set(self.model.controlnets):
            raise ValueError(f"model: {sorted(both)} are adapters and controlnets, expected different names")
        if self.conditions.combine == "sum" and named and named != set(self.conditions.use):
            raise ValueError(
                f"conditions.combine sum: found adapters and controlnets {sorted(named)}, expected one for each of "
                f"{sorted(self.conditions.use)}, or none at all"
            )
        return self

    def deciding(self) -> dict[str, Any]:
        """The part that decides the dataset's bytes, as plain values."""
        values = self.model_dump(mode="json")
        values["source"].pop("path")
        values["output"].pop("path")
        values["quality"].pop("max_rejected")
        values["pipeline"] = {"samples_per_shard": self.pipeline.samples_per_shard}
        values["engine"].pop("fill")
        return values

    def digest(self) -> str:
        """sha256 of the deciding part."""
        return hashlib.sha256(json.dumps(self.deciding(), sort_keys=True).encode()).hexdigest()

    @property
    def control_slots(self) -> int:
        """Control slots of the engine: variants of a record share one, each row and prompt of theirs has its own."""
        if self.engine.control_slots is not None:
            return self.engine.control_slots
        return self.control_slots_for(self.engine.slots)

    def control_slots_for(self, slots: int) -> int:
        """Control slots that keep so many row slots busy.

        Where whole records fill the slots, one for each; otherwise the slots hold parts of two more, at both ends.
        """
        sharing = self.sampling.variants if self.sampling.prompt_to is None else 1
        per_canvas = self.sampling.first_rows
        rows = per_canvas * sharing
        if slots % rows == 0:
            return per_canvas * slots // rows
        return min(slots, per_canvas * (-(-slots // rows) + 1))
