"""What a sample of a finished build says of its own picture: whether a photograph went in, which findings it has."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from dentgen.conditions.images import StoredImage, label_values
from dentgen.conditions.readers.raw import RawRecord, short
from dentgen.errors import ConditionError, found_and_expected
from dentgen.records import COMPOSITE_MEDIA, FINDING_MEMBER, TRAINED_ALGORITHMIC_MEDIA, AskedFinding, SourceSample


class _SampleFacts(BaseModel):
    """The fields of ``KEY.json`` that are carried on; what was not recorded counts as the careful answer."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    synthetic: bool = False
    digital_source_type: str = ""
    findings: tuple[AskedFinding, ...] = ()
    warnings: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _object(cls, values: Any) -> Any:
        return values if isinstance(values, dict) else {}


def source_sample(raw: RawRecord, labels: StoredImage | None) -> tuple[SourceSample, tuple[str, ...]]:
    """Read what a sample says of itself.

    Args:
        raw: A sample that was read as a record.
        labels: Its map of findings; None if its build asked for none.

    Returns:
        The sample, and its warnings.

    Raises:
        ConditionError: If metadata are no such JSON, or the map and the findings in them disagree.
    """
    try:
        facts = _SampleFacts.model_validate_json(raw.members.get("json", b"{}"))
    except ValidationError as error:
        first = error.errors()[0]
        _, found, expected = found_and_expected(first)
        field = ".".join(map(str, first["loc"]))
        raise ConditionError(
            f"{raw.place}.json", short(f"{field}: {found}"), expected or "metadata of a sample"
        ) from None
    source_type = facts.digital_source_type or (TRAINED_ALGORITHMIC_MEDIA if facts.synthetic else COMPOSITE_MEDIA)
    values = None if labels is None else _labels(labels, facts.findings)
    return SourceSample(facts.synthetic, source_type, facts.findings, values), facts.warnings


def _labels(image: StoredImage, findings: tuple[AskedFinding, ...]) -> NDArray[np.uint8]:
    values, _ = label_values(image, range(256))
    found, expected = sorted(set(np.unique(values).tolist()) - {0}), sorted(one.label for one in findings)
    if found != expected:
        raise ConditionError(image.place, f"labels {found}", f"{expected}, as its metadata have {FINDING_MEMBER}s")
    return values
