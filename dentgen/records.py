"""The nouns of dentgen and their schemas: one source of truth for everything written to disk.

Arrays travel in dataclasses, documents (ledger, sample metadata, plan) in pydantic models that export JSON Schema.
Refuses to know how anything is read, made or stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

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
    "view", "arch", "look", "dentition", "shade", "gum", "lighting", "missing_teeth", "restorations", "caries",
    "braces", "plaque", "stain", "mirrored",
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
        license: Licence of the source, "" if unknown.
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
    license: str
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
