"""What dentgen writes as JSON: ledger, lease, sample metadata, index; JSON Schemas are exported from these types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    SkipValidation,
    ValidationInfo,
    model_serializer,
    model_validator,
)

from dentgen.records import ATTRIBUTES, TRAINED_ALGORITHMIC_MEDIA, AskedFinding, FigureName, GateResult
from dentgen.words import as_word, attribute_word, checked_text


class Document(BaseModel):
    """Base of all documents: unknown fields are errors, instances are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True)


_MAX_NAME: Final = 1000
_MAX_PROMPT: Final = 10_000


def _word(value: object, info: ValidationInfo) -> str:
    return attribute_word(info.field_name or "", value)


def _name(value: object) -> object:
    """A text or number as text; anything else is left to pydantic to refuse."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return value
    return checked_text(as_word(value), _MAX_NAME)


def _prompt(value: object) -> object:
    return checked_text(value, _MAX_PROMPT, "\t\n\r") if isinstance(value, str) else value


_Word = Annotated[str, BeforeValidator(_word, json_schema_input_type=str | int | float | bool | None)]
_Name = Annotated[str, BeforeValidator(_name, json_schema_input_type=str | int | float | None)]
_Prompt = Annotated[str, BeforeValidator(_prompt, json_schema_input_type=str | None)]
_TextOnly = Annotated[str, AfterValidator(_prompt)]


class PaintedEntry(Document):
    """What ``KEY.json`` says of a painted region, whose mask is a bit of ``KEY.painted.png``."""

    name: _TextOnly = Field(min_length=1, max_length=_MAX_NAME, description="Its name, unique in the record.")
    prompt: _TextOnly
    negative_prompt: _TextOnly | None = Field(default=None, description="null: the sample's.")
    strength: float = Field(default=1.0, ge=0, le=1, description="Factor on the mask.")
    prompt_strength: float = Field(
        default=1.0, ge=0, le=1, description="Interpolation from the sample's own prompt, 0, to the region's, 1."
    )
    blur: float = Field(default=0.0, ge=0, le=64, description="Gaussian blur of the mask, sigma in pixels.")


FrameNumber = Annotated[int, Field(ge=0, lt=2**31)]


class FrameMetadata(Document):
    """What ``KEY.json`` says of a frame of a series, once it is checked."""

    series: Annotated[_Name, Field(min_length=1)]
    frame: FrameNumber


class ConditionMetadata(BaseModel):
    """Content of a condition record's ``KEY.json``: every field may be missing or null, unknown ones are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    group: _Name = Field(default="", description="Patient or jaw, never divided between splits; the key by default.")
    split: _Name = ""
    prompt: _Prompt = ""
    license: _Name = Field(default="", description="Licence of the record.")
    view: _Word = Field(default="", description="Camera view: frontal, left, right, upper-occlusal, lower-occlusal.")
    arch: _Word = Field(default="", description="Jaws in the picture: upper, lower, both.")
    look: _Word = Field(default="", description="Kind of picture: photo, scan.")
    dentition: _Word = Field(default="", description="permanent, deciduous.")
    shade: _Word = Field(default="", description="Colour of the teeth, a word.")
    gum: _Word = Field(default="", description="Look of the gum, a word.")
    lighting: _Word = Field(
        default="", validation_alias=AliasChoices("lighting", "light"), description="Kind of light, a word."
    )
    missing_teeth: _Word = Field(default="", description="Teeth missing between two that are in the picture.")
    restorations: _Word = Field(default="", description="Teeth in the picture with a filling or crown.")
    caries: _Word = Field(default="", description="Teeth in the picture with decay.")
    braces: _Word = Field(default="", description="A fixed appliance is in the picture: yes, no.")
    plaque: _Word = Field(default="", description="Plaque can be seen: yes, no.")
    stain: _Word = Field(default="", description="Stain can be seen: yes, no.")
    mirrored: _Word = Field(default="", description="Photographed in a mirror, so flipped left to right: yes, no.")
    framing: _Word = Field(default="", description="What is taken in: clinical, close-up, quadrant, smile, face.")
    things: _Word = Field(default="", description="What lies before the teeth, such as: probe, finger, dam.")
    lesions: _Word = Field(default="", description="Visible decay, damage and restorations, such as: caries, cavity.")
    series: SkipValidation[_Name] = Field(
        default="", description="Series of pictures of one mouth that the record is a frame of; checked where series "
        "are used.",
    )  # fmt: skip
    frame: SkipValidation[FrameNumber | None] = Field(
        default=None, description="Number of the frame in its series, from 0; checked where series are used."
    )
    painted: SkipValidation[tuple[PaintedEntry, ...]] = Field(
        default=(), description="Painted regions in the order of the bits of `KEY.painted.png`; checked where they "
        "are used.",
    )  # fmt: skip

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, values: Any) -> Any:
        """Take null for missing, as most writers of JSON do."""
        return {k: v for k, v in values.items() if v is not None} if isinstance(values, dict) else values

    @property
    def attributes(self) -> dict[str, str]:
        """Attributes that the record has."""
        return {name: value for name in ATTRIBUTES if (value := str(getattr(self, name)))}


@dataclass(frozen=True, slots=True)
class Unit:
    """The atom of work, retry and commit: records ``start`` to ``stop`` of one condition shard, times variants.

    Attributes:
        id: Number of the unit; its output shard is shards/ID.tar.
        shard: Condition shard, relative to the source.
        start, stop: First record of the range, and one past the last.
        records: Records of the range that the build uses; others belong to another split.
        duplicates: Positions in the shard whose key an earlier record of the source already has.
        repeats: How many times the variants of each used record are generated; empty: once.
        shard_bytes: Size of the condition shard when the build was planned.
        shard_tag: Its tag (etag or mtime) then, "" if it is not to be compared.
        shard_content: What identifies its content, wherever it lies and whenever it was copied; "" for unknown.
        first_byte, end_byte: Byte range of the records in a tar; ``end_byte`` is 0 if the shard is no tar.
        problem: Why the unit's only record cannot be read, found when the source was indexed; "" if it can.
        problem_key: Key of the record at which reading ended, if it is known.
    """

    id: int
    shard: str
    start: int
    stop: int
    records: int
    shard_bytes: int
    duplicates: tuple[int, ...] = ()
    repeats: tuple[int, ...] = ()
    first_byte: int = 0
    end_byte: int = 0
    problem: str = ""
    problem_key: str = ""
    shard_tag: str = ""
    shard_content: str = ""

    @property
    def name(self) -> str:
        """Six digits, or more if needed."""
        return unit_name(self.id)

    def samples(self, variants: int) -> int:
        """Samples planned, at ``variants`` per record."""
        return variants * (sum(self.repeats) if self.repeats else self.records)


_Tooth = Annotated[int, Field(ge=0, le=255)]


class JudgedDocument(Document):
    """A document that says what a quality gate did, where there is one.

    Without a gate, painted regions and series, its bytes are those of before there were any.
    """

    gate: GateResult | None = Field(default=None, description="What the quality gate measured; null without a gate.")
    retries: int = Field(default=0, ge=0, le=8, description="How often it was made again with other noise.")

    @model_serializer(mode="wrap")
    def _without_what_is_not_asked(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = handler(self)
        if self.gate is None and not self.retries:
            values.pop("gate", None), values.pop("retries", None)
        for name in ("painted", "series", "frame"):
            if name in values and values[name] is None:
                values.pop(name)
        return values


class FigureLimit(Document):
    """Values of a figure that pass, ends included; null for no end."""

    least: float | None = None
    most: float | None = None


class PlannedGate(Document):
    """The quality gate as it was resolved when the build was planned."""

    judges_sha256: str = Field(description="Digest of the judges.")
    reference_sha256: str = Field(description="Digest of the figures of the reference pictures.")
    reference_records: int = Field(ge=0, description="How many pictures they are of.")
    limits: dict[FigureName, FigureLimit] = Field(description="Limits by figure.")
    lost: float = Field(ge=0, le=1, description="Share of the reference pictures that are outside of them.")


class SampleStatus(JudgedDocument):
    """One planned sample in the ledger, written or rejected."""

    key: str = Field(description="Sample key: record key and variant.")
    source_key: str = Field(description="Key of the condition record.")
    group: str = ""
    split: str = ""
    variant: int = Field(ge=0, lt=2**31)
    prompt: str = ""
    status: Literal["written", "rejected"]
    reason: str = Field(default="", description="Why it was rejected: file, key, found, expected.")
    source_license: str = Field(default="", description='Licence of the condition record, "" where unknown.')
    attributes: dict[str, str] = Field(default={}, description="View, light and so on, where the source names them.")
    teeth: tuple[_Tooth, ...] = Field(default=(), description="FDI numbers in the picture.")
    light_level: int | None = Field(
        default=None, ge=0, le=255, description="Mean level of the lighting map where it is not empty."
    )
    findings: tuple[AskedFinding, ...] = Field(default=(), description="Findings that were asked for and judged.")
    reference: str = Field(
        default="", description='Key of the sample that differs from this one in one factor, "" without one.'
    )
    changed: str = Field(default="", description="That factor: findings, prompt or lighting.")
    warnings: tuple[str, ...] = ()


class UnitTiming(Document):
    """When and how fast a unit was generated, for reports."""

    started: float = Field(ge=0, lt=1e11, description="Unix time, seconds.")
    seconds: float = Field(gt=-1e11, lt=1e11, description="Duration from reading to packing.")
    committed: float = Field(default=0.0, ge=0, lt=1e11, description="Unix time of the commit, seconds.")
    worker: str = Field(description="Anonymous name of the process that generated it.")
    attempt: int = Field(
        default=1, ge=1, lt=2**31, description="1, and one more for every process of that run that died over it."
    )


class LedgerRecord(Document):
    """The commit record of one unit, written last; the unit is done if and only if this exists."""

    unit: int
    spec_digest: str
    bundle_digest: str
    shard: str = Field(description='Name under shards/, "" if every record of the unit was rejected.')
    bytes: int = Field(ge=0)
    sha256: str
    source_sha256: str = Field(default="", description="sha256 of the condition records as they were read.")
    samples: tuple[SampleStatus, ...]
    timing: UnitTiming | None = None

    @property
    def written(self) -> int:
        """Samples in the shard."""
        return sum(sample.status == "written" for sample in self.samples)

    @property
    def rejected(self) -> int:
        """Planned samples that are not in the shard."""
        return len(self.samples) - self.written


class LiveFigures(Document):
    """What a running build says of itself with its lease, for whoever watches it; it decides nothing."""

    samples: int = Field(ge=0, lt=2**63, description="Samples done, those of earlier runs included.")
    rejected: int = Field(default=0, ge=0, lt=2**63, description="How many of those of this run were rejected.")
    rate: float = Field(default=0.0, ge=0, lt=1e12, description="Samples per second over the last minute.")
    actors: int = Field(default=0, ge=0, lt=2**31, description="Ray actors alive; 0 without Ray.")
    retries: int = Field(default=0, ge=0, lt=2**63, description="Units of this run that took more than one attempt.")


class LeaseRecord(Document):
    """``lease.json``: who is building; its times are never compared with another machine's clock."""

    owner: str = Field(description="Random name of the run.")
    host: str
    process: int = Field(ge=0, lt=2**31, description="Process id.")
    machine: str = Field(default="", description='Identifies processes that can see each other; "" if unknown.')
    process_started: float = Field(allow_inf_nan=False, description="Start of the process, seconds since boot.")
    since: str = Field(description="When the lease was acquired, ISO 8601.")
    renewals: int = Field(default=0, ge=0, lt=2**63, description="Counts up while the owner is alive.")
    seconds: float = Field(
        gt=0, le=86400, allow_inf_nan=False, description="The lease is stale after this time without a renewal."
    )
    live: LiveFigures | None = Field(default=None, description="How the build stood at the last renewal, if told.")


class SourceBuild(Document):
    """The finished build whose samples are the condition records of another build."""

    index_sha256: str = Field(
        description="sha256 of its index when the build began; shards that it gained later are in later indexes."
    )
    spec_digest: str
    bundle_digest: str
    synthetic: bool = Field(description="No photograph went into its images.")
    digital_source_type: str = Field(description="IPTC digital source type of its images.")
    findings: int = Field(default=0, ge=0, description="Findings that it asked for, which are carried over.")
    height: int = Field(ge=1, description="Height of its images, pixels.")
    width: int = Field(ge=1, description="Width of its images, pixels.")


class SampleMetadata(JudgedDocument):
    """Content of ``KEY.json``; ``spec_digest`` names the whole spec, which is in the plan."""

    key: str
    source_key: str
    group: str
    split: str
    variant: int
    seed: int
    prompt: str
    negative_prompt: str
    prompt_to: str = Field(default="", description='Prompt at the other end of an interpolation, "" without one.')
    seed_to: int = Field(default=0, description="Seed at the other end of an interpolation; the seed without one.")
    share: float = Field(default=0.0, description="Interpolation weight: 0 prompt and seed, 1 prompt_to and seed_to.")
    scheduler: str
    steps: int
    guidance_scale: float
    guidance: str = Field(default="full", description="Source of the unconditional prediction.")
    start_from: str = Field(
        default="noise", description="noise, the record's photo, or a reference: the photo in a frame beside it."
    )
    made_from: str = Field(
        default="", description='sha256 of the index of the build whose sample source_key names, "" for other records.'
    )
    strength: float = Field(default=1.0, description="Fraction of the steps applied to the photo.")
    repaint: tuple[str, ...] = Field(default=(), description="Classes and teeth repainted in the photo.")
    adapters: dict[str, float | dict[str, float]] = Field(
        description="ctrLoRA adapters and full ControlNets, with their scales, one or by class."
    )
    loras: dict[str, float] = Field(default={}, description="LoRAs on UNet and text encoder, with their scales.")
    embeddings: tuple[str, ...] = Field(default=(), description="Textual inversions available to prompts.")
    decoder: str
    control: dict[str, str | float] = Field(description="The control image: conditions, blend alpha, fit.")
    height: int
    width: int
    bundle_digest: str
    spec_digest: str
    software: dict[str, str] = Field(description="Library versions, device kind, slots, threads: all decide bytes.")
    source_license: str = Field(default="", description='"" where unknown.')
    bundle_licenses: tuple[str, ...] = Field(default=(), description="Licenses of the model's weights, where known.")
    use_restrictions: tuple[str, ...] = Field(
        default=(), description="URLs of restrictions that these licenses put on the use of the image."
    )
    attributes: dict[str, str] = Field(default={}, description="View, light and so on, where the source names them.")
    teeth: tuple[int, ...] = Field(default=(), description="FDI numbers in the picture.")
    augment: dict[str, float] = Field(default={}, description="Drawn values of the spec's augment, by its keys.")
    findings: tuple[AskedFinding, ...] = Field(
        default=(), description="Findings that were asked for, where, and what a judge saw of them."
    )
    reference: str = Field(
        default="", description='Key of the sample that differs from this one in one factor, "" without one.'
    )
    changed: str = Field(default="", description="That factor: findings, prompt or lighting.")
    painted: tuple[PaintedEntry, ...] | None = Field(
        default=None, description="Painted regions in the order of the bits of `KEY.painted.png`; null: not read."
    )
    series: str | None = Field(default=None, description="Series that it is a frame of, where frames share noise.")
    frame: int | None = Field(default=None, description="Number of the frame in its series, from 0.")
    warnings: tuple[str, ...] = ()
    synthetic: bool = Field(default=True, description="No photograph went into the image.")
    digital_source_type: str = Field(default=TRAINED_ALGORITHMIC_MEDIA, description="IPTC digital source type.")


class ShardEntry(Document):
    """One output shard in the index."""

    name: str
    bytes: int
    sha256: str
    samples: int
    source_sha256: str = Field(default="", description="sha256 of the condition records that it was made from.")
    splits: dict[str, int] = Field(default={}, description="Its samples by split.")


class DatasetIndex(Document):
    """``index.json``: the shards of a dataset; readers use it instead of listing folders."""

    version: int
    spec_digest: str
    bundle_digest: str
    planned: int
    written: int
    rejected: int
    plan_sha256: str = Field(default="", description="sha256 of spec and bundle digest, environment and units.")
    ledger_sha256: str = Field(default="", description="sha256 of all commit records in order, without their timing.")
    samples_sha256: str = Field(default="", description="sha256 of samples.parquet.")
    shards: tuple[ShardEntry, ...]


class SealRecord(Document):
    """``versions/N/seal.json``: a sealed version in brief; the last file of its folder."""

    version: int = Field(ge=0)
    segment: int = Field(ge=0, description="The plan segment that it was sealed with.")
    units: int = Field(ge=0, description="Units that belong to it.")
    planned: int = Field(ge=0)
    written: int = Field(ge=0)
    rejected: int = Field(ge=0)
    shards: int = Field(ge=0)
    bytes: int = Field(ge=0, description="Of all its shards.")
    retired: int = Field(default=0, ge=0, description="Units of the version before that it leaves out.")
    plan_sha256: str = Field(description="Digest of its plan.")
    index_sha256: str = Field(description="sha256 of its index.json.")
    ledger_sha256: str = Field(description="sha256 of its ledger.parquet.")
    sealed: float = Field(default=0.0, ge=0, lt=1e11, description="Unix time, seconds.")
    tick: str = Field(default="", description='Key of the scheduled tick that sealed it, "" without one.')


class TickRecord(Document):
    """``ticks/HASH.json``: a scheduled tick that was completed; the same key does nothing a second time."""

    key: str
    version: int = Field(ge=0, description="The version that stood at its end.")


def unit_name(number: int) -> str:
    """Name of a unit in file names: six digits, or more if needed."""
    return f"{number:06d}"


def sample_key(record_key: str, variant: int) -> str:
    """Key of one variant of a record."""
    return f"{record_key}-v{variant:03d}"
