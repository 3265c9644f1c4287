"""Records that carry arrays through a build: condition records, requests and generated samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

ConditionName = Literal["segmentation", "lighting", "normal", "curvature", "depth", "findings"]
CONDITION_NAMES: Final[tuple[ConditionName, ...]] = get_args(ConditionName)
#: Member extension of each condition in a shard, without the image format.
CONDITION_MEMBER: Final[dict[ConditionName, str]] = {
    "segmentation": "seg",
    "lighting": "light",
    "normal": "normal",
    "curvature": "curvature",
    "depth": "depth",
    "findings": "lesion",
}
#: Conditions whose values are labels, which are never interpolated.
LABEL_CONDITIONS: Final[tuple[ConditionName, ...]] = ("segmentation", "findings")
#: Conditions that one control image can show together.
BLENDS: Final[tuple[frozenset[ConditionName], ...]] = (
    frozenset({"segmentation", "lighting"}),
    frozenset({"segmentation", "lighting", "findings"}),
)
FDI_MEMBER: Final = "fdi"
#: Figures of a picture that the quality gate knows; ``quality.picture_figures`` says what they are.
FigureName = Literal[
    "miou", "tooth_recall", "boundary_f1", "bleed_in", "bleed_out", "shift", "light_correlation", "luminance",
    "contrast", "clipped", "sharpness", "distinct",
]  # fmt: skip
FIGURES: Final[tuple[FigureName, ...]] = get_args(FigureName)
#: Where findings were asked for: the number of the spec's finding, from 1.
FINDING_MEMBER: Final = "finding"
PHOTO_MEMBER: Final = "photo"
#: Painted regions: bit r is set where region r lies.
PAINTED_MEMBER: Final = "painted"
#: Motion from each pixel to the first frame of the record's series: right and down.
MOTION_MEMBERS: Final = ("motion_x", "motion_y")
#: Regions that a record may have: the bits of a byte.
MAX_PAINTED: Final = 8
ImageFormat = Literal["png", "jpg", "webp"]
IMAGE_FORMATS: Final[tuple[ImageFormat, ...]] = get_args(ImageFormat)
#: What Pillow and the IANA call the formats of generated images.
PILLOW_FORMAT: Final[dict[ImageFormat, str]] = {"png": "PNG", "jpg": "JPEG", "webp": "WEBP"}
MEDIA_TYPE: Final[dict[ImageFormat, str]] = {"png": "image/png", "jpg": "image/jpeg", "webp": "image/webp"}

#: Metadata attributes that are copied from a source into a dataset. An allowlist, so that nothing else (a patient's
#: name, for example) is ever copied.
ATTRIBUTES: Final = (
    "view", "arch", "look", "dentition", "shade", "gum", "lighting", "missing_teeth", "restorations", "caries",
    "braces", "plaque", "stain", "mirrored", "framing", "things", "lesions",
)  # fmt: skip
#: Attributes that are yes or no.
YES_NO_ATTRIBUTES: Final = ("braces", "plaque", "stain", "mirrored")

#: IPTC digital source types of generated pictures; https://cv.iptc.org/newscodes/digitalsourcetype/
TRAINED_ALGORITHMIC_MEDIA: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
COMPOSITE_MEDIA: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
#: IPTC digital source type of condition maps: data rendered as an image.
DATA_DRIVEN_MEDIA: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/dataDrivenMedia"

MapArray = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class AskedFinding:
    """A finding that a sample was asked to show, and what a judge saw of it.

    Attributes:
        label: Its value in the sample's ``finding`` map: the number of the spec's finding, from 1.
        kind: What it is.
        where: Tissue that has it.
        teeth: FDI numbers of its teeth, or of the teeth it is near.
        prompt: Prompt of its region, "" if only maps were changed.
        pixels: Its size.
        inside: Share of its pixels that show it, 0..1; None where nothing could be compared.
        outside: Likewise of the same tissue elsewhere.
        found: Whether the judge found it.
    """

    label: int
    kind: str
    where: str
    teeth: tuple[int, ...]
    prompt: str
    pixels: int
    inside: float | None = None
    outside: float | None = None
    found: bool | None = None


@dataclass(frozen=True, slots=True)
class GateResult:
    """What the quality gate measured of a picture.

    Attributes:
        figures: Every figure, rounded to four digits; None where there was nothing to compare.
        failed: Figures outside their limits.
        fingerprint: Perceptual hash of 256 bits, hexadecimal.
    """

    figures: dict[FigureName, float | None]
    failed: tuple[FigureName, ...] = ()
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class SourceSample:
    """What a sample of a finished build says of its own picture, where it is a condition record of another build.

    Attributes:
        synthetic: Whether no photograph went into the picture.
        digital_source_type: IPTC term for it.
        findings: What it was asked to show, as it was judged then.
        finding_labels: (H, W) uint8 labels of these findings, 0 elsewhere; None if its build asked for none.
    """

    synthetic: bool
    digital_source_type: str
    findings: tuple[AskedFinding, ...] = ()
    finding_labels: NDArray[np.uint8] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class PaintedRegion:
    """A part of a picture that somebody painted, with a prompt of its own.

    Attributes:
        name: Its name, unique in the record.
        prompt: The prompt.
        mask: (H, W) float32 in 0..1; booleans, as it was read from a file, until the record is fitted.
        negative_prompt: Its negative prompt; None takes the sample's.
        strength: Factor on the mask, 0..1: below 1 the region acts only once the noise is below it.
        prompt_strength: Interpolation from the sample's own prompt, 0, to the region's, 1.
        blur: Sigma of a Gaussian blur of the mask, pixels of the picture.
    """

    name: str
    prompt: str
    mask: NDArray[np.float32] | NDArray[np.bool_]
    negative_prompt: str | None = None
    strength: float = 1.0
    prompt_strength: float = 1.0
    blur: float = 0.0


@dataclass(frozen=True, slots=True)
class Frame:
    """A record's place in a series: pictures of one mouth under a camera or a light that moves.

    Attributes:
        series: Name of the series, unique in its source.
        number: Number of the frame, from 0.
    """

    series: str
    number: int


@dataclass(frozen=True, slots=True)
class ConditionRecord:
    """All conditions of one picture.

    Attributes:
        key: ``__key__``, unique in its source, without dots.
        group: Patient or jaw; records of one group must stay in one split. The key if the source names none.
        split: Name of the split, "" if the source names none.
        prompt: The record's own prompt, "" if it has none.
        conditions: Maps by condition name: (H, W) uint8; normal (H, W, 3) uint8; depth (H, W) uint16.
        fdi: (H, W) uint8 FDI tooth numbers, 0 for none; None if the source has no such map.
        photo: (H, W, 3) uint8 real or reference picture, None if the source has none.
        license: Licence of the source, "" if unknown.
        attributes: Metadata of the picture, by name (see ``ATTRIBUTES``).
        warnings: Oddities that do not prevent use.
        sample: Set if the record is a sample of a finished build, and the photo its picture.
        painted: Painted regions, the lowest first.
        frame: Its place in a series, None if it belongs to none.
        motion: (H, W, 2) float32 from the middle of each pixel to its place in the first frame of the series, pixels
            right and down; NaN where that is hidden. None if the source has no such map.
    """

    key: str
    group: str
    split: str
    prompt: str
    conditions: dict[ConditionName, MapArray]
    fdi: NDArray[np.uint8] | None
    photo: NDArray[np.uint8] | None
    license: str
    attributes: dict[str, str]
    warnings: tuple[str, ...] = ()
    sample: SourceSample | None = None
    painted: tuple[PaintedRegion, ...] = ()
    frame: Frame | None = None
    motion: NDArray[np.float32] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width, which all maps share."""
        first = next(iter(self.conditions.values()))
        return first.shape[0], first.shape[1]


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """One picture to generate.

    Attributes:
        key: Sample key.
        record: Condition record, fitted to the output size.
        variant, variants: Index of the variant, from 0, and number of variants of the record.
        seed: Seed of the noise.
        prompt: Effective prompt.
        controls: (H, W, 3) uint8 control image of every control branch, shared by the variants of a record.
        dropped: End of the prompt that the text encoder truncates, "" if it reads all of it.
        finding_labels: (H, W) uint8 labels of asked findings, 0 elsewhere; None if the spec asks for none.
        findings: What was asked for, by label.
        same_noise: Whether all variants of the record begin with the same noise.
        reference: Key of the sample that it differs from in one factor, "" if it is none's counterfactual.
        changed: That factor.
        reference_controls: Control image of every branch for the frame that keeps the record's photo; empty if there is
            no such frame.
        attempt: How often it was made before and failed its judges; every attempt has noise of its own.
        control_scale: Factor on the scales of all control branches.
        guidance_scale: Its guidance scale; None for the spec's.
    """

    key: str
    record: ConditionRecord
    variant: int
    variants: int
    seed: int
    prompt: str
    controls: Mapping[str, NDArray[np.uint8]]
    dropped: str = ""
    finding_labels: NDArray[np.uint8] | None = None
    findings: tuple[AskedFinding, ...] = ()
    same_noise: bool = False
    reference: str = ""
    changed: str = ""
    reference_controls: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)
    attempt: int = 0
    control_scale: float = 1.0
    guidance_scale: float | None = None

    @property
    def noise(self) -> int:
        """Number of its noise and of everything else that is random in it."""
        return (0 if self.same_noise else self.variant) + self.attempt * self.variants


@dataclass(frozen=True, slots=True)
class GeneratedSample:
    """One generated picture.

    Attributes:
        request: What was asked for; its record's maps are the sample's labels.
        picture: (H, W, 3) uint8.
        augment: Values of the changes that were made to the finished picture, by name.
        gate: What the quality gate measured of it before; None without a gate.
    """

    request: SampleRequest
    picture: NDArray[np.uint8]
    augment: Mapping[str, float] = field(default_factory=dict)
    gate: GateResult | None = None


def light_level(lighting: MapArray) -> int | None:
    """Mean of a lighting map (H, W) uint8 where it is not empty, rounded; None if it is empty everywhere."""
    lit = lighting[lighting > 0]
    return round(float(lit.mean())) if lit.size else None
