"""BuildSpec: everything that decides a dataset, in one YAML file.

Unknown keys are errors, every key has a default and a description, and the digest covers exactly what decides bytes.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StrictInt,
    Tag,
    field_validator,
    model_validator,
)

from dentgen import storage
from dentgen.diffusion.window_grid import fitted, offsets
from dentgen.errors import SpecError, StorageError
from dentgen.records import (
    ATTRIBUTES,
    BLENDS,
    COMPOSITE_MEDIA,
    CONDITION_MEMBER,
    FDI_MEMBER,
    TRAINED_ALGORITHMIC_MEDIA,
    ConditionName,
    ImageFormat,
)
from dentgen.spec.augment import AugmentSpec
from dentgen.spec.findings import MAX_FINDINGS, FindingSpec, RegionsSpec, checked_tooth
from dentgen.spec.quality import QualitySpec
from dentgen.spec.variants import VariantsSpec
from dentgen.words import as_word, attribute_word

SchedulerName = Literal[
    "unipc", "lcm", "ddim", "ddpm", "dpmpp_2m", "dpmpp_2m_karras", "euler", "euler_ancestral", "pndm", "heun"
]
Fill = Literal["auto", "continuous", "unit"]
ClassName = Literal[
    "background", "gingiva", "tooth", "other soft tissue", "restoration", "appliance", "lip or skin", "instrument",
    "rubber dam",
]  # fmt: skip


def _known_classes(scales: dict[str, float]) -> dict[str, float]:
    if unknown := sorted(set(scales) - set(get_args(ClassName))):
        raise ValueError(f"found the classes {unknown}, expected some of {list(get_args(ClassName))}")
    return scales


#: Scale of control residuals: one for the whole picture, or one per class; classes without one have 1.
Scale = Annotated[
    Annotated[float, Tag("[one]")]
    | Annotated[dict[str, float], Field(min_length=1), AfterValidator(_known_classes), Tag("[by class]")],
    Discriminator(lambda scale: "[by class]" if isinstance(scale, dict) else "[one]"),  # one fault, not one per kind
]


def _two_sides(shape: list[Any] | tuple[Any, ...]) -> list[Any] | tuple[Any, ...]:
    """One fault for a list of another length, not one per missing number."""
    if len(shape) != 2:
        raise ValueError(f"found {list(shape)}, expected [height, width], or the edge of a square")
    return shape


def _square_as_edge(shape: tuple[int, int]) -> int | tuple[int, int]:
    """A square under its one name, so that equal datasets have equal digests."""
    height, width = shape
    return height if height == width else shape


_Edge = Annotated[int, Field(ge=8, le=4096, multiple_of=8)]
#: Size of the picture: the edge of a square, or height and width.
Size = Annotated[
    Annotated[_Edge, Tag("[edge]")]
    | Annotated[
        tuple[_Edge, _Edge], BeforeValidator(_two_sides), AfterValidator(_square_as_edge), Tag("[height, width]")
    ],
    Discriminator(lambda size: "[height, width]" if isinstance(size, (list, tuple)) else "[edge]"),
]
#: Edge of a latent, pixels, in Stable Diffusion's autoencoder: windows lie on this grid.
CELL: Final = 8
#: Share of the steps that enlarged pictures go through, unless the spec says otherwise.
UPSCALE_STRENGTH: Final = 0.3
#: Upper bound of an oversampling factor; beyond it, more records are better than more variants.
MAX_OVERSAMPLE: Final = 100


_KNOWN_MEMBERS: Final = {*(f"{member}.png" for member in (*CONDITION_MEMBER.values(), FDI_MEMBER)), "json"}
#: Numbers and booleans in YAML are taken as text.
_Value = Annotated[str, BeforeValidator(as_word)]


def expand_place(place: str) -> str:
    """A place with ``~`` and ``file://`` resolved where the spec is read, so that it is the same in every process.

    Raises:
        ValueError: If it holds a password, or is a ``file://`` URL of another host.
    """
    try:
        storage.require_no_password(place)
        return storage.expanded(place)
    except StorageError as error:
        raise ValueError(f"found {error.found}, expected {error.expected}") from error


#: A path or URL of a spec.
Place = Annotated[str, AfterValidator(expand_place)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SourceSpec(_Section):
    """Where condition records come from."""

    path: Place = Field(
        default="conditions/", min_length=1, description="Folder, shards or Parquet; local path or any fsspec URL."
    )
    format: Literal["auto", "webdataset", "parquet", "folder", "build"] = Field(
        default="auto",
        description="How records are stored; build: as samples of a finished build; auto looks at the file names.",
    )
    split: str | None = Field(default=None, description="Use only records of this split; null takes all.")
    limit: int | None = Field(default=None, ge=1, description="Use only the first N records; null: all.")
    oversample: dict[str, dict[_Value, StrictInt]] = Field(
        default={},
        description="Factor on the variants of records with an attribute, as {lighting: {harsh: 3}, caries: {any: 2}}; "
        "any matches every value but 0, no and none. If several match, the largest counts.",
    )
    ignore_members: tuple[str, ...] = Field(
        default=(), description="Members, such as 'notes.txt', to ignore; other unknown members reject their record."
    )

    @field_validator("ignore_members")
    @classmethod
    def _unknown_members(cls, members: tuple[str, ...]) -> tuple[str, ...]:
        if known := sorted(_KNOWN_MEMBERS & set(members)):
            raise ValueError(f"found {known}, which dentgen reads, expected members that it does not know")
        return members

    @field_validator("oversample")
    @classmethod
    def _known_attributes(cls, oversample: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
        unknown = sorted(oversample.keys() - set(ATTRIBUTES))
        if unknown:
            raise ValueError(f"found attributes {unknown}, expected some of {list(ATTRIBUTES)}")
        oversample = {name: _by_word(name, values) for name, values in oversample.items()}
        times = [(f"{name}.{value}", n) for name, values in oversample.items() for value, n in values.items()]
        wrong = [f"{place}: {n}" for place, n in times if not 1 <= n <= MAX_OVERSAMPLE]
        if wrong:
            raise ValueError(f"found {', '.join(wrong)}, expected whole numbers from 1 to {MAX_OVERSAMPLE}")
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


def _by_word(attribute: str, factors: Mapping[str, int]) -> dict[str, int]:
    """Factors by words as records have them: ``true`` and ``1`` are yes.

    Raises:
        ValueError: If a word means that the value is unknown, or two are the same.
    """
    words = {value: attribute_word(attribute, value) for value in factors}
    wrong = [value for value, word in words.items() if not word or list(words.values()).count(word) > 1]
    if wrong:
        raise ValueError(f"found {attribute}: {wrong}, expected different words of known values")
    return {words[value]: factor for value, factor in factors.items()}


def _fits(wanted: str, found: str) -> bool:
    return found not in {"", "0", "no", "none"} if wanted == "any" else found == wanted


class OutputSpec(_Section):
    """Where the dataset goes."""

    path: Place = Field(default="out/", min_length=1, description="Folder or any fsspec URL.")
    image_format: ImageFormat = Field(
        default="png", description="Format of generated images; label maps are always PNG."
    )
    png_level: int = Field(
        default=6, ge=0, le=9, description="zlib level of PNG files: 0 none, 1 fast, 9 small; pixels are the same."
    )


class ModelSpec(_Section):
    """The model."""

    bundle: Place = Field(
        default="miniature", description="The embedded miniature, a bundle folder or URL, or a hub id."
    )
    adapters: dict[str, Scale] = Field(
        default={"blended": 1.0},
        description="ctrLoRA adapters and the scales of their residuals, one or by class, as {tooth: 1.5, background: "
        "0.5}; {} uses the bare base.",
    )
    controlnets: dict[str, Scale] = Field(
        default={},
        description="Full ControlNets of the bundle's folder controlnets/ and their residuals' scales.",
    )
    loras: dict[str, float] = Field(
        default={},
        description="LoRAs of the bundle's folder loras/ and their scales; fused into UNet and text encoder.",
    )
    embeddings: tuple[str, ...] = Field(
        default=(), description="Textual inversions of the bundle's folder embeddings/; prompts use NAME as <NAME>."
    )
    decoder: Literal["kl", "tiny"] = Field(
        default="kl", description="Decoder of the latents: the autoencoder's own, or a distilled one."
    )
    decode_tile: int | None = Field(
        default=None, ge=64, multiple_of=8, description="Decode in tiles of this edge, pixels; null: whole images."
    )
    encode_tile: int | None = Field(
        default=None,
        ge=64,
        multiple_of=8,
        description="Encode control images and photos in tiles of this edge, pixels; null: whole images.",
    )

    @field_validator("bundle")
    @classmethod
    def _holds_no_signature(cls, bundle: str) -> str:
        if storage.is_remote(bundle) and "?" in bundle:  # it would end up in every sample's metadata
            raise ValueError("found a query in the URL, expected credentials in the environment")
        return bundle


class ConditionsSpec(_Section):
    """From condition record to control image."""

    use: tuple[ConditionName, ...] = Field(
        default=("segmentation", "lighting"), min_length=1, description="Conditions that control the image."
    )
    combine: Literal["blend", "sum"] = Field(
        default="blend",
        description="blend: one control image for all adapters; sum: each condition goes through the adapter or "
        "ControlNet of its name, or through the bare base, and residuals are added.",
    )
    alpha: float = Field(default=0.3, ge=0, le=1, description="Weight of segmentation colours over lighting.")
    size: Size | None = Field(
        default=None,
        description="Edge of a square image, or [height, width], pixels; null: what the bundle's UNet was trained at.",
    )
    fit: Literal["pad", "crop", "stretch"] = Field(default="pad", description="How other shapes are fitted.")
    control_start: float = Field(
        default=0.0, ge=0, le=1, description="Fraction of the steps before which control is off."
    )
    control_end: float = Field(default=1.0, ge=0, le=1, description="Fraction of the steps after which control is off.")

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the image in a spec whose size is resolved, as that of every plan and generator.

        Raises:
            SpecError: If it is not.
        """
        if self.size is None:
            raise SpecError(key="conditions.size", found="null", expected="a size, once the bundle is known")
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    @property
    def edge(self) -> int:
        """Edge of a square image, for evaluations and benchmarks that render their own maps.

        Raises:
            SpecError: If the image is not square, or its size is not resolved.
        """
        height, width = self.shape
        if height != width:
            expected = "a square, because the maps that are rendered to measure with are squares"
            raise SpecError(key="conditions.size", found=[height, width], expected=expected)
        return height

    @model_validator(mode="after")
    def _blendable(self) -> ConditionsSpec:
        if len(set(self.use)) < len(self.use):
            raise ValueError(f"use: found {list(self.use)}, expected every condition once")
        if not self.control_start < self.control_end:
            raise ValueError(f"control_start {self.control_start} must be less than control_end {self.control_end}")
        if self.combine == "blend" and len(self.use) > 1 and set(self.use) not in BLENDS:
            expected = "use one condition, or segmentation and lighting (and findings)"
            raise ValueError(f"cannot blend {list(self.use)}: {expected}")
        return self


class SamplingSpec(_Section):
    """Diffusion sampling."""

    scheduler: SchedulerName | dict[str, Any] = Field(
        default="unipc", description="Solver: a name, or a diffusers scheduler config with its _class_name."
    )
    scheduler_options: dict[str, Any] = Field(
        default={}, description="Overrides of the scheduler's config, such as solver_order: 3."
    )
    steps: int = Field(default=4, ge=1, le=1000, description="Denoising steps (UNet calls) per image.")
    timesteps: tuple[int, ...] | None = Field(
        default=None,
        min_length=1,
        description="Explicit training timesteps, one per step; null: the scheduler's own.",
    )
    start_from: Literal["noise", "photo"] = Field(
        default="noise", description="photo: image-to-image from each record's photo member."
    )
    strength: float = Field(
        default=1.0, gt=0, le=1, description="Fraction of the steps applied to a photo; 1 keeps nothing of it."
    )
    upscale: Literal[2, 4] | None = Field(
        default=None,
        description="Image-to-image at this multiple of the size of the source's pictures: sets conditions.size, "
        "start_from, strength 0.3 and window (the bundle's own size), unless the spec names them; null: off.",
    )
    repaint: tuple[ClassName | Annotated[int, AfterValidator(checked_tooth)], ...] = Field(
        default=(),
        description="Inpainting: segmentation classes and teeth, by FDI number, to repaint in the photo; the rest is "
        "kept.",
    )
    paste_border: int | None = Field(
        default=None,
        ge=0,
        le=256,
        description="Repainted parts are pasted into the photo, which keeps its own levels exactly beyond this many "
        "pixels around them; null: the whole picture is decoded.",
    )
    window: int | None = Field(
        default=None,
        ge=64,
        le=4096,
        multiple_of=64,
        description="Edge, pixels, of what the UNet sees at once: larger pictures are covered by overlapping windows "
        "whose weights sum to one; null: whole pictures.",
    )
    window_overlap: float = Field(
        default=0.5, ge=0, le=0.9, description="Least share of a window's edge that its neighbour has too."
    )
    guidance_scale: float = Field(default=1.0, ge=0, description="Classifier-free guidance; 1 is none.")
    guidance: Literal["full", "self", "initialize"] = Field(
        default="full",
        description="full: a second UNet row with the negative prompt; self, initialize: residual guidance without a "
        "second row, or with one at the first step only, for scales up to about 1.4.",
    )
    guidance_delta: float = Field(default=1.0, ge=0, description="Factor on the noise of residual guidance.")
    variants: int = Field(default=4, ge=1, le=1000, description="Images per record, each with its own noise.")
    seed: int = Field(
        default=0, ge=-(2**63), lt=2**63, description="Seed; with record key and variant it decides all noise."
    )
    prompt: str | None = Field(default=None, description="Prompt for every record; null uses the record's own.")
    negative_prompt: str = Field(default="", description="Prompt of the unconditional row.")
    long_prompts: Literal["error", "truncate", "chunk"] = Field(
        default="error",
        description="Prompts over 75 tokens: rejected, truncated (recorded), or encoded in windows of 75.",
    )
    prompt_chunks: int = Field(default=2, ge=1, le=16, description="Number of windows of long_prompts: chunk.")
    prompt_to: str | None = Field(
        default=None,
        description="Interpolate the prompt over the variants towards this one, which the last variant has.",
    )
    seed_to: int | None = Field(
        default=None, ge=-(2**63), lt=2**63, description="Interpolate the noise over the variants towards this seed's."
    )
    interpolation: Literal["lerp", "slerp"] = Field(
        default="slerp", description="Interpolation of prompt embeddings; noise always uses slerp."
    )

    @property
    def repaint_teeth(self) -> tuple[int, ...]:
        """Teeth to repaint."""
        return tuple(each for each in self.repaint if isinstance(each, int))

    @property
    def scheduler_name(self) -> str:
        """For metadata: the name, or the class of a config."""
        return self.scheduler if isinstance(self.scheduler, str) else str(self.scheduler.get("_class_name", ""))

    @property
    def interpolates(self) -> bool:
        """Whether variants interpolate between two prompts or seeds."""
        return self.prompt_to is not None or self.seed_to is not None

    @property
    def synthetic(self) -> bool:
        """Whether no photograph goes into the images."""
        return self.start_from == "noise"

    @property
    def source_type(self) -> str:
        """IPTC term for the images: those that start from a photograph may keep parts of it."""
        return TRAINED_ALGORITHMIC_MEDIA if self.synthetic else COMPOSITE_MEDIA

    @property
    def first_rows(self) -> int:
        """UNet rows of a canvas at its first step, its maximum."""
        return 2 if self.guidance_scale != 1.0 and self.guidance != "self" else 1

    @model_validator(mode="before")
    @classmethod
    def _upscaled(cls, values: Any) -> Any:
        """What upscale sets, where the spec does not name it."""
        if isinstance(values, dict) and values.get("upscale") is not None:
            return {"start_from": "photo", "strength": UPSCALE_STRENGTH, **values}
        return values

    @model_validator(mode="after")
    def _consistent(self) -> SamplingSpec:
        if self.upscale is not None and self.start_from != "photo":
            raise ValueError(f"start_from is {self.start_from}, expected photo, because upscale enlarges pictures")
        if self.timesteps is not None and len(self.timesteps) != self.steps:
            raise ValueError(f"steps is {self.steps}, but timesteps names {len(self.timesteps)}")
        if self.start_from == "noise" and (self.strength != 1.0 or self.repaint):
            raise ValueError("strength and repaint need start_from: photo")
        if self.paste_border is not None and not self.repaint:
            raise ValueError("paste_border is read with repaint")
        if self.negative_prompt and self.first_rows == 1:
            raise ValueError("negative_prompt is read with guidance_scale other than 1, and guidance other than self")
        return self


class EngineSpec(_Section):
    """The stream engine. Batch shapes and threads decide bits, so they are part of the digest."""

    slots: int = Field(default=16, ge=1, description="UNet rows per tick.")
    control_slots: int | None = Field(
        default=None, ge=1, description="Control net rows per tick; null: as many as keep the slots busy."
    )
    codec_batch: int = Field(
        default=8, ge=1, description="Images per call of the autoencoder; the engine ticks between two calls."
    )
    threads: int = Field(default=1, ge=1, description="CPU threads per process.")
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = Field(
        default="auto", description="Precision of the networks; auto: float32 on CPU, float16 on GPU."
    )
    fill: Fill = Field(
        default="auto",
        description="continuous: samples of several units are in the engine at once; unit: of one at a time, while "
        "other units are read, decoded and packed; auto: unit on GPU.",
    )
    compile: bool = Field(default=False, description="torch.compile the UNet, control nets and decoder.")
    cuda_graph: bool = Field(default=False, description="Capture the tick as a CUDA graph; GPU only.")


class ActorRange(_Section):
    """Limits of a number of actors that follows the size of the cluster."""

    min: int = Field(
        default=1, ge=1, description="Actors asked of the cluster, even where it has no room for them yet."
    )
    max: int = Field(ge=1, description="Most actors; those above min start as soon as a node has room for them.")

    @model_validator(mode="after")
    def _ordered(self) -> ActorRange:
        if self.max < self.min:
            raise ValueError(f"found min {self.min} and max {self.max}, expected max to be at least min")
        return self


def _is_range(value: object) -> str:
    return "[min, max]" if isinstance(value, Mapping | ActorRange) else "[number]"


def _reservable(gpus: float | None) -> float | None:
    """Ray reserves GPUs in parts of one, in ten-thousandths, or as whole ones."""
    if gpus is not None and gpus > 1 and gpus != int(gpus):
        raise ValueError(f"found {gpus}, expected at most 1, or a whole number")
    if gpus is not None and 0 < gpus < 1e-4:
        raise ValueError(f"found {gpus}, expected 0, or at least 0.0001")
    return gpus


class PipelineSpec(_Section):
    """Distribution of the work; only samples_per_shard, which cuts units, decides bytes."""

    actors: Annotated[
        Annotated[int, Field(ge=1), Tag("[number]")] | Annotated[ActorRange, Tag("[min, max]")],
        Discriminator(_is_range),
    ] = Field(
        default=1,
        description="Ray actors, each with its own models: a number (Ray Data), or {min: 1, max: 64} (a pool that "
        "follows the nodes of a cluster).",
    )
    gpus_per_actor: Annotated[float | None, AfterValidator(_reservable)] = Field(
        default=None,
        ge=0,
        description="GPUs that an actor reserves; 0.5: two actors share one. null: 1 on a GPU, 0 without one.",
    )
    samples_per_shard: int = Field(
        default=64,
        ge=1,
        description="Maximum samples per output shard; a record with more variants gets its own.",
    )
    packers: int | None = Field(
        default=None,
        ge=1,
        description="Threads per actor that encode and pack samples; null: on GPU one fewer than the CPUs, at most 8, "
        "otherwise 1.",
    )
    stall_seconds: float = Field(
        default=30.0, ge=5, description="An actor without heartbeat or engine progress for this long is restarted."
    )
    lease_seconds: float = Field(
        default=60.0, ge=1, description="A build's lease goes stale after this time without a renewal."
    )
    environment: Literal["refuse", "warn"] = Field(
        default="refuse",
        description="Resuming with other library versions or another device kind: refused, or with a warning.",
    )

    @property
    def fewest_actors(self) -> int:
        """Actors asked of the cluster, whatever room it has."""
        return self.actors.min if isinstance(self.actors, ActorRange) else self.actors

    @property
    def most_actors(self) -> int:
        """Actors at most."""
        return self.actors.max if isinstance(self.actors, ActorRange) else self.actors


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
    augment: AugmentSpec = Field(default=AugmentSpec(), description="Random changes of the finished images.")
    findings: tuple[FindingSpec, ...] = Field(
        default=(), max_length=MAX_FINDINGS, description="Findings to ask for: drawn per sample, recorded, judged."
    )
    regions: RegionsSpec = Field(default=RegionsSpec(), description="How the regions of findings begin.")
    variants: VariantsSpec = Field(default=VariantsSpec(), description="What differs between variants of a record.")

    @property
    def required_conditions(self) -> tuple[ConditionName, ...]:
        """Conditions that every record must have: a findings map need not be there where the spec asks for findings."""
        return tuple(name for name in self.conditions.use if not (name == "findings" and self.findings))

    @property
    def max_regions(self) -> int:
        """Regions of a picture with all findings."""
        return sum(finding.prompt is not None for finding in self.findings)

    @property
    def max_windows(self) -> int:
        """Windows of a picture; 1 as long as its size is not resolved."""
        window, overlap = self.sampling.window, self.sampling.window_overlap
        if window is None or self.conditions.size is None:
            return 1
        height, width = self.conditions.shape
        cells = (height // CELL, width // CELL)
        parts = fitted(cells, window // CELL)
        return math.prod(len(offsets(*each, overlap)) for each in zip(cells, parts, strict=True))

    @property
    def first_rows(self) -> int:
        """UNet rows of a picture at its first step, at most: of its own prompt and every region, in every window."""
        return self.sampling.first_rows * (1 + self.max_regions) * self.max_windows

    @model_validator(mode="after")
    def _fits_slots(self) -> BuildSpec:
        for key, slots in (("slots", self.engine.slots), ("control_slots", self.control_slots)):
            if self.first_rows > slots:
                raise ValueError(f"engine.{key} {slots}: guidance and findings need {self.first_rows} rows per picture")
        return self

    @model_validator(mode="after")
    def _gate_fits(self) -> BuildSpec:
        gate = self.quality.gate
        if gate is not None and "segmentation" not in self.conditions.use:
            raise ValueError("quality.gate: found no segmentation in conditions.use, expected it to compare with")
        if gate is not None and gate.retry and (self.variants.change or self.sampling.seed_to is not None):
            raise ValueError(
                f"quality.gate.retry {gate.retry}: variants that share their noise cannot be made again alone"
            )
        return self

    @model_validator(mode="after")
    def _one_factor(self) -> BuildSpec:
        change = self.variants.change
        if "findings" in change and not self.findings:
            raise ValueError("variants.change findings needs findings to ask for")
        if "lighting" in change and "lighting" not in self.conditions.use:
            raise ValueError("variants.change lighting needs lighting in conditions.use")
        if change and (self.sampling.interpolates or self.sampling.variants < 2):
            raise ValueError("variants.change needs at least two variants, and no interpolation between them")
        return self

    @model_validator(mode="after")
    def _findings_usable(self) -> BuildSpec:
        parted = self.max_regions or self.sampling.window is not None
        if parted and self.sampling.guidance == "initialize" and self.sampling.guidance_scale != 1:
            raise ValueError("sampling.guidance initialize: windows, and findings with prompts, need full or self")
        if self.regions.leak and self.sampling.first_rows > 1:
            raise ValueError("regions.leak needs guidance_scale 1 or guidance self")
        for n, finding in enumerate(self.findings):
            if not finding.changes(self.conditions.use):
                raise ValueError(f"findings.{n}: found no prompt, and no map in use that shows {finding.kind}")
            if finding.negative_prompt is not None and self.sampling.first_rows == 1:
                raise ValueError(
                    f"findings.{n}.negative_prompt is read with guidance_scale other than 1 and guidance full"
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
        """The keys that decide the dataset's bytes, as plain values."""
        values = self.model_dump(mode="json")
        values["source"].pop("path")
        values["output"].pop("path")
        values["model"].pop("bundle")  # its content counts, which the plan's bundle digest names
        values["quality"].pop("max_rejected")
        if self.quality.gate is not None:  # what judges and reference are, the planned gate says
            values["quality"]["gate"].pop("judges"), values["quality"]["gate"].pop("reference")
        values["pipeline"] = {"samples_per_shard": self.pipeline.samples_per_shard}
        values["engine"].pop("fill")
        if self.augment == AugmentSpec():
            values.pop("augment")
        if not self.variants.change:
            values.pop("variants")
        if self.sampling.paste_border is None:
            values["sampling"].pop("paste_border")
        if self.model.encode_tile is None:
            values["model"].pop("encode_tile")
        if self.sampling.upscale is None:
            values["sampling"].pop("upscale")
        if self.sampling.window is None:
            values["sampling"].pop("window"), values["sampling"].pop("window_overlap")
        if not self.findings:
            values.pop("findings"), values.pop("regions")
        values["engine"]["control_slots"] = self.control_slots
        return values

    def digest(self) -> str:
        """sha256 of the deciding keys."""
        return hashlib.sha256(json.dumps(self.deciding(), sort_keys=True).encode()).hexdigest()

    @property
    def control_slots(self) -> int:
        """Control slots: one per record, prompt and guidance row in the engine; variants of a record share it."""
        if self.engine.control_slots is not None:
            return self.engine.control_slots
        return self.control_slots_for(self.engine.slots)

    def control_slots_for(self, slots: int) -> int:
        """Control slots that keep ``slots`` row slots busy.

        If whole records fill the row slots, one per record; otherwise parts of two more records are in flight.
        """
        differ = self.sampling.prompt_to is not None or bool(self.findings) or bool(self.variants.change)
        sharing = 1 if differ else self.sampling.variants
        per_canvas = self.first_rows
        rows = per_canvas * sharing
        if slots % rows == 0:
            return per_canvas * slots // rows
        return min(slots, per_canvas * (-(-slots // rows) + 1))
