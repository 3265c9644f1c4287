"""What the labels of an annotation mean: a small YAML file, and a draft of it from the labels that are there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from dentgen.conditions.labels import FDI_NUMBERS, GINGIVA, IGNORE, RESTORATION, SEG_CLASSES, TOOTH
from dentgen.conditions.lesion_map import INFLAMED_GUM, LESIONS, RESTORATIONS
from dentgen.spec.yaml_file import read_values, validate_document

SKIP: Final = "skip"
_CLASSES: Final = {name: value for value, name in SEG_CLASSES.items()}
_LESIONS: Final = {name: value for value, name in LESIONS.items() if value not in {0, IGNORE}}
_TOOTH: Final = re.compile(r"tooth (\d\d)")
#: Words of foreign labels and what they mean; the first that fits counts.
_WORDS: Final = (
    (r"cavit", "cavity"), (r"caries|carious|decay", "caries"), (r"crack|fractur|broken|chip", "fracture"),
    (r"white.?spot", "white spot"), (r"plaque", "plaque"), (r"inflam|gingivit", "inflamed gum"),
    (r"calcul|tartar", "calculus"), (r"amalgam", "amalgam filling"),
    (r"gold", "gold crown"), (r"inlay|onlay", "ceramic inlay"), (r"veneer", "veneer"),
    (r"composite|filling|restoration", "tooth-coloured filling"), (r"crown|bridge", "ceramic crown"),
    (r"brace|bracket|wire|appliance|aligner", "appliance"), (r"gum|gingiv", "gingiva"),
    (r"lip|skin|face|finger|glove", "lip or skin"), (r"tongue|cheek|mucosa|palate", "other soft tissue"),
    (r"mirror|probe|instrument|retractor|suction", "instrument"), (r"dam", "rubber dam"),
    (r"tooth|teeth|molar|incisor|canine|cuspid|enamel|dent", "tooth"), (r"background|^0$|^#000000$", "background"),
    (r"ignore|void|unlabel|^255$", "ignore"),
)  # fmt: skip
_PALMER: Final = re.compile(r"(?:tooth\s*)?(UR|UL|LL|LR)\s*-?([1-8A-E])", re.IGNORECASE)
_QUADRANTS: Final = {"UR": 1, "UL": 2, "LL": 3, "LR": 4}
_NUMBER: Final = re.compile(r"(?:tooth[\s_-]*)?(\d{1,2})", re.IGNORECASE)


class Meanings(BaseModel):
    """What every label means.

    A meaning is a class (``tooth``, ``gingiva``, ``lip or skin``), a finding on a tooth (``caries``, ``gold crown``), a
    tooth by its FDI number (``tooth 36``), or ``skip``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    labels: dict[Annotated[str, Field(max_length=200)], str] = Field(description="Meaning of every label.")
    rest: Literal["ignore", "background"] = Field(
        default="ignore", description="What pixels are that nothing covers: not annotated, or background."
    )
    group: str | None = Field(
        default=None,
        max_length=200,
        description="Regular expression that finds a patient's name in a picture's; null: every picture is a patient.",
    )

    @field_validator("labels")
    @classmethod
    def _known(cls, labels: dict[str, str]) -> dict[str, str]:
        for label, meaning in labels.items():
            if not is_meaning(meaning):
                known = [*_CLASSES, *_LESIONS, "tooth 11 to 85", SKIP]
                raise ValueError(f"{label}: found {meaning!r}, expected one of {known}")
        return labels

    @field_validator("group")
    @classmethod
    def _is_pattern(cls, group: str | None) -> str | None:
        try:
            re.compile(group or "")
        except re.error as error:
            raise ValueError(f"found {group!r}, expected a regular expression: {error}") from error
        return group

    def group_of(self, name: str) -> str:
        """Patient of a picture: what the pattern finds, its first group if it has one, else the picture's name."""
        found = re.search(self.group, name) if self.group else None
        return name if found is None else found[min(1, found.re.groups)] or name


def read_meanings(file: str) -> Meanings:
    """Read a file of meanings.

    Raises:
        SpecError: If it cannot be read, or a meaning is unknown.
    """
    return validate_document(Meanings, read_values(file), file)


def is_meaning(text: str) -> bool:
    """Whether a text is a class, a finding, a tooth or ``SKIP``."""
    return text in {*_CLASSES, *_LESIONS, SKIP} or tooth_number(text) is not None


def tooth_number(meaning: str) -> int | None:
    """FDI number of a meaning ``tooth NN``, None for all others."""
    found = _TOOTH.fullmatch(meaning)
    return int(found[1]) if found and int(found[1]) in FDI_NUMBERS else None


def class_of(meaning: str) -> int:
    """Segmentation class of an area: inflamed gum is gum, other findings are on teeth, restorations have their own."""
    lesion = lesion_of(meaning)
    if lesion == INFLAMED_GUM:
        return GINGIVA
    if lesion is not None:
        return RESTORATION if lesion in RESTORATIONS else TOOTH
    return TOOTH if tooth_number(meaning) is not None else _CLASSES[meaning]


def lesion_of(meaning: str) -> int | None:
    """Value of a finding in the lesion map, None for what is none."""
    return _LESIONS.get(meaning)


def draft(counts: Mapping[str, int]) -> str:
    """A file of meanings for labels with their counts, to be read and corrected by a person."""
    scheme = _numbering(counts)
    meanings = {label: _guess(label, scheme) for label in counts}
    width = max((len(_quoted(label)) for label in counts), default=0)
    lines = [
        "# What every label means: a class, a finding, 'tooth NN' (FDI), or 'skip'. Guessed from the names: check it.",
        *([f"# Numbers were taken for {scheme} numbers."] if scheme else []),
        "rest: ignore        # or background, if everything that belongs to teeth and gum is annotated",
        "group: null         # a regular expression that finds the patient in a picture's name",
        "labels:",
    ]
    for label, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        meaning = meanings[label]
        lines.append(f"  {_quoted(label)}:{' ' * (width - len(_quoted(label)))} {meaning:<24}# {count} areas")
    return "\n".join(lines) + "\n"


def _quoted(label: str) -> str:
    """The label as a YAML string, whatever it holds."""
    escaped = "".join(c if c.isprintable() and c not in '"\\' else f"\\u{ord(c):04x}" for c in label)
    return f'"{escaped}"'


def _numbering(counts: Mapping[str, int]) -> str:
    """Numbering that all numbers among the labels fit, FDI rather than universal; "" if there is none."""
    numbers = [int(found[1]) for label in counts if (found := _NUMBER.fullmatch(label.strip())) and int(found[1])]
    if not numbers:
        return ""
    if FDI_NUMBERS.issuperset(numbers):
        return "FDI"
    return "universal" if len(numbers) > 3 and max(numbers) <= 32 else ""


def _guess(label: str, scheme: str) -> str:
    text = label.strip()
    if palmer := _PALMER.fullmatch(text):
        quadrant, place = _QUADRANTS[palmer[1].upper()], palmer[2].upper()
        number = 10 * quadrant + int(place) if place.isdigit() else 10 * (quadrant + 4) + ord(place) - ord("A") + 1
        return f"tooth {number}"
    number_found = _NUMBER.fullmatch(text)
    if number_found and scheme:
        return f"tooth {_fdi(int(number_found[1]), scheme)}" if int(number_found[1]) else "background"
    if text.casefold() in {*_CLASSES, *_LESIONS}:
        return text.casefold()
    return next((meaning for pattern, meaning in _WORDS if re.search(pattern, text.casefold())), SKIP)


def _fdi(number: int, scheme: str) -> int:
    """FDI number; universal numbers count from the upper right third molar to the lower right one."""
    if scheme == "FDI":
        return number
    place = (number - 1) % 8
    return (18 - place, 21 + place, 38 - place, 41 + place)[(number - 1) // 8]
