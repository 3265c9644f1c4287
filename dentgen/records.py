"""The nouns of dentgen and their schemas: one source of truth for everything written to disk.

Arrays travel in dataclasses, documents (ledger, sample metadata, plan) in pydantic models that export JSON Schema.
Refuses to know how anything is read, made or stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

ConditionName = Literal["segmentation", "lighting", "normal", "curvature", "depth"]
CONDITION_NAMES: Final[tuple[ConditionName, ...]] = get_args(ConditionName)
#: Member extension of each condition in a shard, without its image format.
CONDITION_MEMBER: Final[dict[ConditionName, str]] = {
    "segmentation": "seg",
    "lighting": "light",
    "normal": "normal",
    "curvature": "curvature",
    "depth": "depth",
}
FDI_MEMBER: Final = "fdi"
PHOTO_MEMBER: Final = "photo"
#: What a record's metadata may say about its picture. A list of names, so that nothing else (a patient's name, say) is
#: ever carried from a source into a dataset.
ATTRIBUTES: Final = (
    "view", "arch", "look", "dentition", "shade", "gum", "light", "missing_teeth", "restorations", "caries", "braces",
    "plaque", "stain", "mirrored",
)  # fmt: skip

#: What the pictures are, in the words of the IPTC; https://cv.iptc.org/newscodes/digitalsourcetype/
TRAINED_ALGORITHMIC_MEDIA: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
COMPOSITE_MEDIA: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
#: What the maps beside them are: data drawn as an image.
DATA_DRIVEN_MEDIA: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/dataDrivenMedia"

MapArray = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class ConditionRecord:
    """All conditions of one picture.

    Attributes:
        key: ``__key__``, unique in a source, without dots.
        group: What must not be split (patient, jaw); the key if the source names none.
        split: Name of the split, "" if the source names none.
        prompt: The record's own prompt, "" if it has none.
        conditions: Maps by condition name: (H, W) uint8, normal (H, W, 3) uint8, depth (H, W) uint16.
        fdi: (H, W) uint8 FDI numbers, None if the source has none.
        photo: (H, W, 3) uint8 real or reference picture, None if the source has none.
        licence: Licence of the source, "" if unknown.
        attributes: What the source says about the picture, by name (``ATTRIBUTES``).
        warnings: What was odd but usable.
    """

    key: str
    group: str
    split: str
    prompt: str
    conditions: dict[ConditionName, MapArray]
    fdi: NDArray[np.uint8] | None
    photo: NDArray[np.uint8] | None
    licence: str
    attributes: dict[str, str]
    warnings: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width that all maps share."""
        first = next(iter(self.conditions.values()))
        return first.shape[0], first.shape[1]


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """One picture to make: a fitted record, its variant and the control images that it shares with other variants.

    Attributes:
        key: Sample key.
        record: Fitted condition record.
        variant, variants: Index of the variant, of so many of the record.
        prompt: Prompt that will be used.
        controls: (H, W, 3) uint8 control image of every control branch.
        dropped: What the text encoder will not read of the prompt.
    """

    key: str
    record: ConditionRecord
    variant: int
    variants: int
    prompt: str
    controls: Mapping[str, NDArray[np.uint8]]
    dropped: str = ""


@dataclass(frozen=True, slots=True)
class GeneratedSample:
    """A made picture (H, W, 3) uint8 with the request that it answers."""

    request: SampleRequest
    picture: NDArray[np.uint8]


class Document(BaseModel):
    """Base of everything written as JSON: unknown fields are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def as_word(value: object) -> str:
    """Counts and signs as text, for attributes are words; "" for anything else, which others mean otherwise."""
    match value:
        case bool():
            return "yes" if value else "no"
        case int() | float():
            return f"{value:g}"
        case str():
            return value
        case _:
            return ""


_Word = Annotated[str, BeforeValidator(as_word, json_schema_input_type=str | int | bool)]


class ConditionMetadata(BaseModel):
    """Content of a condition record's ``KEY.json``: every field may be missing, unknown ones are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    group: str = Field(default="", description="Patient or jaw, never divided between splits; the key by default.")
    split: str = ""
    prompt: str = ""
    license: str = Field(default="", description="Licence of the record.")
    view: str = Field(default="", description="Camera view: frontal, left, right, upper-occlusal, lower-occlusal.")
    arch: str = Field(default="", description="Jaws in the picture: upper, lower, both.")
    look: _Word = Field(default="", description="Kind of picture: photo, scan.")
    dentition: _Word = Field(default="", description="permanent, deciduous.")
    shade: str = Field(default="", description="Colour of the teeth, a word.")
    gum: str = Field(default="", description="Look of the gum, a word.")
    light: str = Field(default="", description="Kind of light, a word.")
    missing_teeth: _Word = Field(default="", description="Teeth missing between two that are in the picture.")
    restorations: _Word = Field(default="", description="Teeth in the picture with a filling or crown.")
    caries: _Word = Field(default="", description="Teeth in the picture with decay.")
    braces: _Word = Field(default="", description="A fixed appliance is in the picture: yes, no.")
    plaque: _Word = Field(default="", description="Plaque can be seen: yes, no.")
    stain: _Word = Field(default="", description="Stain can be seen: yes, no.")
    mirrored: _Word = Field(default="", description="Photographed in a mirror, so flipped left to right: yes, no.")

    @property
    def attributes(self) -> dict[str, str]:
        """Attributes that the record names."""
        return {name: value for name in ATTRIBUTES if (value := str(getattr(self, name)))}


class Unit(Document):
    """The atom of work, retry and commit: records ``start`` to ``stop`` of one condition shard, times variants."""

    id: int = Field(ge=0, description="Number of the unit; its output shard is shards/ID.tar.")
    shard: str = Field(description="Condition shard, relative to the source.")
    start: int = Field(ge=0, description="First record of the range.")
    stop: int = Field(gt=0, description="One past the last record of the range.")
    records: int = Field(gt=0, description="Records of the range that the build uses; others are of another split.")
    duplicates: tuple[int, ...] = Field(
        default=(), description="Positions in the shard whose key an earlier record of the source already has."
    )
    repeats: tuple[int, ...] = Field(
        default=(), description="Times that the variants of each used record are made; empty: once."
    )
    shard_bytes: int = Field(ge=0, description="Size of the condition shard when it was planned.")
    first_byte: int = Field(default=0, ge=0, description="Where the unit's records begin in a tar.")
    end_byte: int = Field(default=0, ge=0, description="Where they end; 0 if the shard is no tar.")
    problem: str = Field(
        default="", description="Why the unit's record cannot be read, found when the source was indexed."
    )
    problem_key: str = Field(default="", description="Key of the record at which reading ended, if it is known.")

    @property
    def name(self) -> str:
        """Six digits, or more if needed."""
        return f"{self.id:06d}"

    def samples(self, variants: int) -> int:
        """Samples planned, where a record has so many ``variants``."""
        return variants * (sum(self.repeats) if self.repeats else self.records)

    def model_post_init(self, _: Any) -> None:
        """Share what pydantic notes of which fields were given: in a set of its own, it is half of a unit's memory."""
        object.__setattr__(self, "__pydantic_fields_set__", _UNIT_FIELDS)


_UNIT_FIELDS: Final = set(Unit.model_fields)


class Plan(Document):
    """One plan segment: the ordered units of a build and everything resolved that decides their bytes."""

    segment: int = Field(ge=0)
    spec: dict[str, Any] = Field(description="The resolved build spec.")
    spec_digest: str
    bundle_digest: str
    environment: dict[str, str] = Field(description="Library versions, device kind, precision, slots, threads.")
    units: tuple[Unit, ...]

    @property
    def planned(self) -> int:
        """Samples that the segment plans."""
        variants = int(self.spec["sampling"]["variants"])
        return sum(unit.samples(variants) for unit in self.units)


class SampleStatus(Document):
    """One planned sample in the ledger, written or rejected."""

    key: str = Field(description="Sample key: record key and variant.")
    source_key: str = Field(description="Key of the condition record.")
    group: str = ""
    split: str = ""
    variant: int = Field(ge=0)
    prompt: str = ""
    status: Literal["written", "rejected"]
    reason: str = Field(default="", description="Why it was rejected: file, key, found, expected.")
    source_licence: str = Field(default="", description='Licence of the condition record, "" where unknown.')
    attributes: dict[str, str] = Field(default={}, description="View, light and so on, where the source names them.")
    teeth: tuple[int, ...] = Field(default=(), description="FDI numbers in the picture.")
    light_level: int | None = Field(default=None, description="Mean level of the lighting map where it is not empty.")
    warnings: tuple[str, ...] = ()


class UnitTiming(Document):
    """When and how fast a unit was made, for reports; decides nothing."""

    started: float = Field(description="Unix time, seconds.")
    seconds: float = Field(description="From reading to packing.")
    committed: float = Field(default=0.0, description="Unix time of the commit, seconds.")
    worker: str = Field(description="Host and process that made it.")


class LedgerRecord(Document):
    """The commit record of one unit, written last; the unit is done if and only if this exists."""

    unit: int
    spec_digest: str
    bundle_digest: str
    shard: str = Field(description='Name under shards/, "" if every record of the unit was rejected.')
    bytes: int = Field(ge=0)
    sha256: str
    samples: tuple[SampleStatus, ...]
    timing: UnitTiming | None = None

    @property
    def written(self) -> int:
        """Samples in the shard."""
        return sum(sample.status == "written" for sample in self.samples)

    @property
    def rejected(self) -> int:
        """Samples that were planned and are not in the shard."""
        return len(self.samples) - self.written


class LeaseRecord(Document):
    """``lease.json``: who builds here now; no clock that it names is ever compared with another."""

    owner: str = Field(description="Random name of this one run.")
    host: str
    process: int = Field(description="Process id.")
    machine: str = Field(default="", description='Names the processes that can see each other; "" where unknown.')
    process_started: float = Field(description="Seconds from the start of the machine to that of the process.")
    since: str = Field(description="When the lease was taken, for people.")
    renewals: int = Field(default=0, ge=0, description="Rises while the owner lives.")
    seconds: float = Field(gt=0, description="Without a renewal for so long it may be taken over.")


class SampleMetadata(Document):
    """Content of ``KEY.json``: what people ask of a sample; ``spec_digest`` names the whole spec, kept in the plan."""

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
    share: float = Field(default=0.0, description="Place between the ends: 0 is prompt and seed, 1 the other ones.")
    scheduler: str
    steps: int
    guidance_scale: float
    guidance: str = Field(default="full", description="Where the unconditional prediction comes from.")
    start_from: str = Field(default="noise", description="noise, or the record's photo.")
    strength: float = Field(default=1.0, description="Share of the steps that the photo went through.")
    repaint: tuple[str, ...] = Field(default=(), description="Classes painted anew in the photo.")
    adapters: dict[str, float] = Field(description="ctrLoRA adapters and full ControlNets, with their scales.")
    loras: tuple[str, ...] = Field(default=(), description="LoRAs on UNet and text encoder, NAME=SCALE each.")
    embeddings: tuple[str, ...] = Field(default=(), description="Textual inversions that prompts can name.")
    decoder: str
    control: dict[str, str | float] = Field(description="How the control image was made: conditions, blend alpha, fit.")
    size: int
    bundle: str
    bundle_digest: str
    spec_digest: str
    software: dict[str, str] = Field(description="Library versions, device kind, slots and threads: all decide bytes.")
    source_licence: str = Field(default="", description='"" where unknown.')
    attributes: dict[str, str] = Field(default={}, description="View, light and so on, where the source names them.")
    teeth: tuple[int, ...] = Field(default=(), description="FDI numbers in the picture.")
    warnings: tuple[str, ...] = ()
    synthetic: bool = Field(default=True, description="No photograph went into the picture.")
    digital_source_type: str = Field(default=TRAINED_ALGORITHMIC_MEDIA, description="IPTC term for the picture.")


class ShardEntry(Document):
    """One output shard in the index."""

    name: str
    bytes: int
    sha256: str
    samples: int


class DatasetIndex(Document):
    """``index.json``: what readers use instead of listing folders."""

    version: int
    spec_digest: str
    bundle_digest: str
    planned: int
    written: int
    rejected: int
    shards: tuple[ShardEntry, ...]


def sample_key(record_key: str, variant: int) -> str:
    """Key of one variant of a record."""
    return f"{record_key}-v{variant:03d}"
