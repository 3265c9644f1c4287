"""Where condition records come from, which of them are used, and how often."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from pydantic import Field, StrictInt, field_validator

from dentgen.records import ATTRIBUTES, CONDITION_MEMBER, FDI_MEMBER, MOTION_MEMBERS, PAINTED_MEMBER
from dentgen.spec.section import Place, Section, Word
from dentgen.words import attribute_word

#: Upper bound of an oversampling factor; beyond it, more records are better than more variants.
MAX_OVERSAMPLE: Final = 100
_KNOWN_MEMBERS: Final = {
    *(f"{member}.png" for member in (*CONDITION_MEMBER.values(), FDI_MEMBER, PAINTED_MEMBER, *MOTION_MEMBERS)),
    "json",
}


class SourceSpec(Section):
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
    oversample: dict[str, dict[Word, StrictInt]] = Field(
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
