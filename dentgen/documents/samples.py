"""What ledger and ``KEY.json`` say of a sample."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from dentgen.documents.conditions import PaintedEntry
from dentgen.documents.document import Document
from dentgen.records import TRAINED_ALGORITHMIC_MEDIA, AskedFinding, GateResult

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
